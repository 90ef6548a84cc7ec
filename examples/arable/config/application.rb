require_relative "boot"

require "logger" # Rails 6.1 and 7.0 use it without asking for it
require "rails"
require "active_model/railtie"
require "active_job/railtie"
require "active_record/railtie"
require "active_storage/engine"
require "action_controller/railtie"
require "action_view/railtie"

Bundler.require(*Rails.groups)

module Arable
  class Application < Rails::Application
    config.load_defaults Rails::VERSION::STRING.to_f

    # bin/package writes the id of the release into REVISION.
    revision = root.join("REVISION")
    config.x.release = revision.exist? ? revision.read.strip : "development"
    config.action_dispatch.default_headers["X-Release"] = config.x.release

    # Images are shown as they were uploaded: nothing to measure, preview or convert.
    config.active_storage.analyzers = []
    config.active_storage.previewers = []

    config.generators.system_tests = nil
  end
end
