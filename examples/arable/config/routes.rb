Rails.application.routes.draw do
  get "up", to: "health#show"
  resources :posts, only: %i[index new create show destroy]
  root "posts#index"
end
