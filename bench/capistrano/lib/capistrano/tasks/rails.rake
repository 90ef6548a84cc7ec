# What capistrano-bundler, capistrano-rails and a plugin for the service do, with their defaults: Debian has no package of them.
namespace :deploy do
  task :bundle do
    on release_roles(:app), in: :parallel do
      within release_path do
        # Which gems count stands in .bundle/config, which all releases share.
        execute :bundle, "install", "--local", "--quiet" unless test(:bundle, "check")
      end
    end
  end

  task :migrate do
    on primary(:db) do
      within release_path do
        with rails_env: fetch(:rails_env) do
          execute :bundle, "exec", "rake", "db:migrate"
        end
      end
    end
  end

  task :restart do
    way = fetch(:restart_in)
    # SSHKit pauses for 2 s between servers unless told otherwise. Nobody needs that who waits for the load balancer.
    order = { parallel: { in: :parallel }, sequence: { in: :sequence }, drained: { in: :sequence, wait: 0 } }
    on roles(:app), order.fetch(way) do |server|
      balance "out", server if way == :drained
      sudo :systemctl, "restart", fetch(:service)
      next if way == :parallel

      healthy = (1..300).any? do
        test(:curl, "-fs", "-o", "/dev/null", fetch(:health)) || (sleep(0.2) && false)
      end
      raise "#{server} does not answer" unless healthy
      balance "in", server if way == :drained
    end
  end

  after "deploy:updated", "deploy:bundle"
  after "deploy:bundle", "deploy:migrate"
  after "deploy:publishing", "deploy:restart"
end
