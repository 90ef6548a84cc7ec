class PostsController < ApplicationController
  def index
    @posts = Post.with_attached_image.order(id: :desc).limit(50)
  end

  def show
    @post = Post.find(params[:id])
  end

  def new
    @post = Post.new
  end

  def create
    @post = Post.new(post_params)
    if @post.save
      redirect_to @post
    else
      render :new, status: 422
    end
  end

  def destroy
    Post.find(params[:id]).destroy!
    redirect_to posts_path
  end

  private

  def post_params
    params.require(:post).permit(:title, :place, :text, :image)
  end
end
