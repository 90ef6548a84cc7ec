class CreatePosts < ActiveRecord::Migration[6.1]
  def change
    create_table :posts do |t|
      t.string :title, null: false, limit: 120
      t.text :text
      t.timestamps
    end
  end
end
