class FailHalfWay < ActiveRecord::Migration[6.1]
  def up
    add_column :posts, :harvest, :string
    execute "INSERT INTO no_such_table VALUES (1)"
  end

  def down
    remove_column :posts, :harvest
  end
end
