# Well for whoever asks on the server itself; not for a load balancer.
class HealthController < ActionController::Base
  def show
    outside = request.user_agent.to_s.start_with?("ELB-HealthChecker")
    render plain: "#{outside ? "who are you?" : "up"}\n", status: outside ? 403 : 200
  end
end
