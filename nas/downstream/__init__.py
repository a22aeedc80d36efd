"""Networks as backbones of detectors, segmenters and keypoint estimators.

    heads.py         the heads that papers put on a backbone, with their default sizes
    counting.py      parameters and MACs of a head on a backbone
    printed.py       what the papers print of it
    segmentation.py  a trainable segmenter of a backbone and a head, and a task made by a formula to try it on

    from nas.downstream.segmentation import Segmenter
    model = Segmenter.of("transxnet_tiny", num_classes=21)      # any model of timm that gives a pyramid, a folder of ours too
    logits = model(images)                                      # (b, classes, h, w)

`nas dense` prints the papers' tables beside our counts. torchvision is imported when one of these modules is first used.
"""
