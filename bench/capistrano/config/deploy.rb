lock "~> 3.17"

set :application, "arable"
set :deploy_to, "/var/www/arable-cap"
set :rails_env, "production"
set :linked_files, %w[config/database.yml]
set :linked_dirs, %w[.bundle log tmp/cache tmp/pids storage]
set :keep_releases, 5

set :service, "arable-cap"
set :health, "http://127.0.0.1:3000/up" # through nginx, as the load balancer asks
# parallel; or sequence: one server after another, each waited for; or drained: each out of the load balancer meanwhile
set :restart_in, ENV.fetch("RESTART", "parallel").to_sym
set :format_options, log_file: nil # the benchmark keeps what is printed
