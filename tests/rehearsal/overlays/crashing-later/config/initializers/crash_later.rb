# A release that starts, is well for ten seconds, and then never again.
if defined?(Puma::CLI)
  crashed = "/var/www/arable/shared/log/crashed-#{Rails.root.basename}"
  raise "the harvest has rotted" if File.exist?(crashed)

  Thread.new do
    sleep 10
    File.write(crashed, "")
    warn "the harvest rots"
    exit! 1
  end
end
