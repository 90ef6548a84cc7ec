# Goes on when a test has made the table go_on.
class TakeLong < ActiveRecord::Migration[6.1]
  def up
    execute "CREATE TABLE IF NOT EXISTS holding (id INT)"
    sleep 0.2 until select_value("SHOW TABLES LIKE 'go_on'")
    execute "DROP TABLE holding"
  end

  def down
  end
end
