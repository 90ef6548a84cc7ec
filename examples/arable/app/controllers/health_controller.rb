# Says that this process is up; not whether the database is, which no restart of a web server would mend.
class HealthController < ActionController::Base
  def show
    render plain: "up #{Rails.configuration.x.release}\n"
  end
end
