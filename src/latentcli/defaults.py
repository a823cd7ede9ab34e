"""Defaults and limits of the commands' options, in a module without imports, so that help pages load fast."""

# Share of the images to measure on, chosen by a hash of the relative path; 0.2 is surer for a few hundred images.
HELD_OUT_SHARE = 0.05

# `sample`
SAMPLES = 64  # number of images
TEMPERATURE = 1.0  # factor on the standard deviation of the noise: 1 is the prior itself, less is less varied
GUIDANCE = 1.0  # factor on the difference between a flow and its mixture: 1 is the fitted density
SPREAD = 0.3  # distance of the variations of a picture: 0 is the picture itself, 1 a new sample
MOST_SEEDS = 1_000_000  # limit on the images of one call of `sample`
MOST_ON_SHEET = 10_000  # limit on the images of one sheet, for all commands

# `traverse`, `map` and `interpolate`
TRAVERSAL_ROWS, TRAVERSAL_STEPS = 10, 9  # number of axes, and of images along each axis
TRAVERSAL_RANGE = 2.0  # standard deviations to both sides; 3 shows extremes
NEAREST = 64  # number of images on a map that shows those nearest to one image
MAP_CELLS = 15  # images across and down a plane
PLANE_RANGE = 1.645  # standard deviations to both sides: from the 5 % to the 95 % quantile, as in Chollet's chapter
WALK_STEPS = 9  # images from one keyframe of a walk to the next, both included
WALK_FPS = 12.0  # pictures a second in an animation; 25 for smooth films
MOST_FRAMES = 100_000  # limit on the images of a walk

# `edit`
MOST_STRENGTH = 10_000.0  # distances between the two class means; 0.5 to 2 looks natural
DETAIL = 0.5  # share of the photo's own detail to keep in the edited area
MEGAPIXELS = 250.0  # larger pictures are refused before a pixel is decoded
PHOTO_MEGAPIXELS = 100.0  # limit for photos to be edited, which take more memory than other pictures

# `sharpen`
SHARP_SHARE = 0.2  # number of images that sharpening shows, as a share of those that training showed
SHARP_LEAST_STEPS = 500  # least number of steps, unless `minutes` is given
