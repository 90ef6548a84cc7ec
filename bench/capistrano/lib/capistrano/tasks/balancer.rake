# Out of the load balancer and in again, for RESTART=drained: what somebody writes who wants to lose nothing.
namespace :balancer do
  # Begun with the deployment, so that the SDK is loaded when the first server is taken out.
  task :open do
    next unless fetch(:restart_in) == :drained

    script = File.expand_path("../targets.py", __dir__)
    set :balancer, IO.popen([ENV.fetch("PYTHON", "python3"), script, ENV.fetch("TARGET_GROUP")], "r+")
  end

  task :close do
    fetch(:balancer)&.close
  end

  before "deploy:starting", "balancer:open"
  after "deploy:finished", "balancer:close"
end

# Returns when the load balancer has let go of the server (out), or calls it healthy (in).
def balance(way, server)
  balancer = fetch(:balancer)
  balancer.puts "#{way} #{server.properties.instance}"
  raise "the load balancer did not do as told: #{way} #{server}" unless balancer.gets == "done\n"
end
