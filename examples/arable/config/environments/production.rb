Rails.application.configure do
  config.cache_classes = true # its name before Rails 7.1
  config.enable_reloading = false if config.respond_to?(:enable_reloading=)
  config.eager_load = true
  config.consider_all_requests_local = false
  config.action_controller.perform_caching = true
  config.public_file_server.enabled = ENV["RAILS_SERVE_STATIC_FILES"].present?

  # TLS ends at the load balancer, which says so in X-Forwarded-Proto. Its health checks come in plain HTTP.
  config.force_ssl = true
  config.ssl_options = { redirect: { exclude: ->(request) { request.path == "/up" } } }

  # Without a bucket (a first try on one machine) images stay on the disk.
  config.active_storage.service = ENV["S3_BUCKET"].present? ? :amazon : :local

  config.log_level = ENV.fetch("RAILS_LOG_LEVEL", "info").to_sym
  config.log_tags = [:request_id]
  if ENV["RAILS_LOG_TO_STDOUT"].present?
    config.logger = ActiveSupport::TaggedLogging.new(ActiveSupport::Logger.new($stdout))
  end

  config.i18n.fallbacks = true
  config.active_support.report_deprecations = false if config.active_support.respond_to?(:report_deprecations=)
  config.active_record.dump_schema_after_migration = false
end
