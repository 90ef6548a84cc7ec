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
    on roles(:app), in: fetch(:restart_in) do |server|
      sudo :systemctl, "restart", fetch(:service)
      next if fetch(:restart_in) == :parallel

      healthy = (1..300).any? do
        test(:curl, "-fs", "-o", "/dev/null", fetch(:health)) || (sleep(0.2) && false)
      end
      raise "#{server} does not answer" unless healthy
    end
  end

  after "deploy:updated", "deploy:bundle"
  after "deploy:bundle", "deploy:migrate"
  after "deploy:publishing", "deploy:restart"
end
