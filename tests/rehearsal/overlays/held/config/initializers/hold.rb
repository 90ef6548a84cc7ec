# A release that does not start before a test lets it, and not at all on a server that a test has spoilt.
if defined?(Puma::CLI)
  puts "held"
  $stdout.flush
  sleep 0.1 while File.exist?("/var/www/arable/shared/hold")
  raise IOError, "the soil of this server is spoilt" if File.exist?("/var/www/arable/shared/spoilt")
end
