"""Names of the files in a model's folder, and of vectors."""

import re

MODEL_FILE = "model.safetensors"  # the model
CARD_FILE = "README.md"  # model card
FILES_FILE = "files.safetensors"  # fingerprints of the training images
HISTORY_FILE = "history.jsonl"  # a line of metrics per epoch
RESUME_FILE = "resume.safetensors"  # checkpoint of a training
PRIOR_RESUME_FILE = "prior.resume.safetensors"  # checkpoint of the prior's fit
SHARP_RESUME_FILE = "sharp.resume.safetensors"  # checkpoint of a sharpening
PLAIN_FILE = "plain.safetensors"  # the model before it was sharpened
RECONSTRUCTIONS_FILE = "reconstructions.png"  # sheet of reconstructions, drawn again at every save of a training
SAMPLES_FILE = "samples.png"  # sheet of samples, drawn again at every save of a training
SNAPSHOT_FOLDER = "snapshots"  # pictures drawn in the course of training
VECTORS_FOLDER = "vectors"  # concept vectors
VECTOR_SUFFIX = ".safetensors"
NUMBERED_AXIS = re.compile(r"(z|pc)(\d{1,4})")  # a latent dimension, from 0, or a principal component, from 1
