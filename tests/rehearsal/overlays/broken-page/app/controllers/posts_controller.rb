# A release that is well by its health path, and shows nobody a page.
class PostsController < ApplicationController
  def index
    raise "the harvest is lost"
  end
end
