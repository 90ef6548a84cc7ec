require "capistrano/scm/plugin"

# A release is an archive on the deploying machine, copied to every server and unpacked there.
class Capistrano::SCM::Archive < Capistrano::SCM::Plugin
  def set_defaults
    set_if_empty :archive, -> { ENV.fetch("ARCHIVE") }
  end

  def register_hooks
    after "deploy:new_release_path", "archive:create_release"
    before "deploy:set_current_revision", "archive:set_current_revision"
  end

  def define_tasks
    namespace :archive do
      task :create_release do
        on release_roles(:all), in: :parallel do
          uploaded = "#{deploy_to}/#{File.basename(fetch(:archive))}"
          upload! fetch(:archive), uploaded
          execute :mkdir, "-p", release_path
          execute :tar, "-xzf", uploaded, "-C", release_path
          execute :rm, uploaded
        end
      end

      task :set_current_revision do
        set :current_revision, File.basename(fetch(:archive), ".tar.gz")
      end
    end
  end
end
