# The servers' addresses come from the region, the first of them runs the migrations.
ENV.fetch("SERVERS").split(",").each_with_index do |address, index|
  server address, user: "deploy", roles: index.zero? ? %w[app db] : %w[app], primary: index.zero?
end

set :ssh_options, {
  keys: [ENV.fetch("KEY")],
  keys_only: true,
  config: false,
  auth_methods: %w[publickey],
  user_known_hosts_file: ENV.fetch("KNOWN_HOSTS"),
  verify_host_key: :accept_new
}
