class Post < ApplicationRecord
  IMAGE_TYPES = %w[image/png image/jpeg image/gif image/webp].freeze
  IMAGE_LIMIT = 10.megabytes

  has_one_attached :image

  validates :title, presence: true, length: { maximum: 120 }
  validates :text, length: { maximum: 10_000 }
  validate :image_is_shown_by_browsers, if: -> { image.attached? }

  private

  def image_is_shown_by_browsers
    errors.add(:image, "must be a PNG, JPEG, GIF or WebP") unless IMAGE_TYPES.include?(image.content_type)
    errors.add(:image, "must be smaller than 10 MB") if image.byte_size > IMAGE_LIMIT
  end
end
