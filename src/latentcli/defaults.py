"""Defaults and limits of the commands' options: numbers that help pages show without loading what uses them."""

# Share of the images, by a hash of their relative path; 0.2 measures a few hundred images more surely.
HELD_OUT_SHARE = 0.05

# `sample`
SAMPLES = 64  # images
MIXTURE_TEMPERATURE = 0.8  # cleaner and a little less varied than the training images
FLOW_TEMPERATURE = 0.9  # cleaner and a little less varied than the training images
FLOW_GUIDANCE = 1.5  # of 1, 1.5 and 2 the nearest to held-out emoji and avatars in the features of open_nsfw
SPREAD = 0.3  # of the variations of a picture; try 0.1 for small changes, 1 for free ones
MOST_SEEDS = 1_000_000  # images of one run
MOST_ON_SHEET = 10_000  # images of one sheet, of any command

# `traverse`, `map` and `interpolate`
TRAVERSAL_ROWS, TRAVERSAL_STEPS = 10, 9  # axes, and images along each
TRAVERSAL_RANGE = 2.0  # standard deviations to both sides; 3 shows extremes
NEAREST = 64  # images of a map around one of them
MAP_CELLS = 15  # images a side of a plane
PLANE_RANGE = 1.645  # standard deviations: the chapter's, from the 5 % quantile to the 95 % quantile
WALK_STEPS = 9  # images per leg of a walk, both ends included
WALK_FPS = 12.0  # pictures a second in an animation; 25 for smooth films
MOST_FRAMES = 100_000  # images of a walk

# `edit`
MOST_STRENGTH = 10_000.0  # class gaps; 0.5 to 2 looks natural
DETAIL = 0.5  # share of a photo's own detail, where an edit redraws it
MEGAPIXELS = 250.0  # larger pictures are refused before a pixel is decoded
PHOTO_MEGAPIXELS = 100.0  # the same limit for photos to be edited, which take more memory

# `sharpen`
SHARP_SHARE = 0.2  # share of the images shown in training that sharpening shows again
SHARP_LEAST_STEPS = 500  # steps, unless minutes are asked for
