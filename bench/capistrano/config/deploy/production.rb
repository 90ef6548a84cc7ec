# The servers' addresses and their ids in EC2 come from the region, the first of them runs the migrations.
instances = ENV.fetch("INSTANCES").split(",")
ENV.fetch("SERVERS").split(",").zip(instances).each_with_index do |(address, instance), index|
  server address, user: "deploy", roles: index.zero? ? %w[app db] : %w[app], primary: index.zero?, instance: instance
end

set :ssh_options, {
  keys: [ENV.fetch("KEY")],
  keys_only: true,
  config: false,
  auth_methods: %w[publickey],
  user_known_hosts_file: ENV.fetch("KNOWN_HOSTS"),
  verify_host_key: :accept_new
}
