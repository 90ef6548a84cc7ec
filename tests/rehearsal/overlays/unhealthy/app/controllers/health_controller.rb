# A release that starts, but is not well.
class HealthController < ActionController::Base
  def show
    render plain: "the harvest is lost\n", status: 500
  end
end
