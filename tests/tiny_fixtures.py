"""Every reduced preset at a size that runs in a second or two: enough networks for each statistic, and nothing more."""

SETTING = "setting={n_samples: 2, t: 2, tolerance: 0.05, adversarial_t: 2, learning_rate: 0.5, discriminator: 8}"
MEAN_FIELD = "mean_field={widths: [16,32], seeds: 5, tolerance: 0.5}"
FIGURE_1 = "figure1={widths: [20], seeds: [5], n_samples: 8, t: 10, nodes: 4, tolerance: 0.01}"

OVERRIDES = {
    "depth_inference": [
        *("depths=[2,3,4]", "reference.depth=3", "n_samples=16", "width=1000", "batches=6", "reference_batches=8"),
        *("networks={width: 16, seeds: 6}", "reference_networks={widths: [8,32], seeds: 6}"),
        "held_out={width: 64, seeds: 5}",
    ],
    "drift": [
        *(FIGURE_1, "setting={n_samples: 2, t: 4, nodes: 4, flow_nodes: 5}", "widths=[16,32]", "seeds=[6,5]"),
        *("pairs={widths: [16], seeds: 5}", "check={widths: [32], seeds: 5, tolerance: 1e-4}"),
        *("curve={width: 16, intervals: 8}", "kinked={widths: [16,32], seeds: 5, tolerance: 0.01, scale: 3e-6}"),
        "bias={widths: [8,16], blocks: 5, networks: 100, nonlinearities: [erf,relu]}",
    ],
    "fig1": [
        *("widths=[16,32]", "seeds=[0,1,2]", "narrow_seeds=10", "wide_seeds=10"),
        *("trend={widths: [16,32,64], seeds: 10}",),
        *("initial={widths: [16,32,64], seeds: 10}", "mean_field={widths: [16,32], seeds: 10, tolerance: 0.5}"),
        *("alternative_seeds=10", "training.n_samples=8", "training.t=4", "training.tolerance=0.1", "intervals=8"),
    ],
    "fig2": [
        *("widths=[8,32]", "seeds=[20,10]", "drawn=3", "training.t=20", "training.tolerance=0.05", "intervals=8"),
        *("initial={widths: [8,16], seeds: 10}", "estimate={widths: [64], seeds: 5}"),
        "narrow_estimate={widths: [8], seeds: 5}",
    ],
    "fig3": [
        *("data.n=12", "training.t=40", "training.tolerance=0.1", "widths=[16,64]", "seeds=[1]"),
        *("trend={widths: [16,32], seeds: [5,5]}", "initial={widths: [16,32], seeds: [5,5]}"),
        "descent={width: 16, seeds: [0,1,2,3,4], learning_rate: 5, t: 20}",
        "rates={widths: [16,32], seeds: [5,5], n: 8, t: 20, resolution: 0.5}",
        "spectrum={batches: 5, n: 12, beta: 1.0}",
    ],
    "kernel_gradient": [
        *("setting.n_samples=4", "setting.intervals=4", "setting.t=1", "setting.tolerance=0.1", "widths=[16,64]"),
        "seeds=6",
    ],
    "least_squares": [
        "circle={n_samples: 8, n_test: 8, concentration: 2.0, noise: 0.6, modes: 3}",
        *("few.times=[0,8,64]", "training={first: 2, t: 50, times: 12, tolerance: 0.1}"),
        *("wide_seeds=6", "clean_seeds=6"),
        *("noisy={widths: [16,64], seeds: 6}", "linear={widths: [16], seeds: 5}"),
        *("descent={widths: [16], seeds: 5, learning_rate: 20.0}", "gaussian={widths: [32], seeds: 20}"),
        *("narrow={widths: [4], seeds: 20}",),
        "samples={seeds: 6, n_samples: 16, draws: 5, length: 0.5, wave_number: 16.0}",
    ],
    "multi_output": ["setting.n_samples=3", "setting.t=2", "setting.tolerance=0.1", "widths=[16,64]", "seeds=6"],
    "prop1": [
        *("n_samples=3", "depths=[2,3]", "widths=[8,32]", "seeds=[20,10]", "outputs={widths: [8], seeds: 20}"),
        "shared={widths: [8,16], seeds: 10}",
    ],
    "prop2": [
        *("depth=3", "seeds=5", "points=6", "ranks={n_0: 2, points: 10}", "pairs=[2,4]"),
        "nonlinearities=[relu,identity,quadratic]",
    ],
    "random_functions": [
        *("setting.n_samples=4", "setting.intervals=8", "setting.steps=3", "numbers=[10,100]", "seeds=6"),
    ],
    "remark1": [
        "n_samples=4",
        "map={hidden: [[6,8,5]], nonlinearities: [relu], betas: [0.1], learning_rate: 0.25, steps: 3, seeds: 2}",
        "classical={widths: [100], inputs: [2,8], learning_rate: 1.0, steps: 3, seeds: 5}",
        "kernel={betas: [0.1,1.0], widths: [8,32], seeds: [6,5]}",
    ],
    "remark4": [SETTING, "widths=[16,64]", "seeds=[6,5]", "direction_seeds=5", MEAN_FIELD],
    "theorem1": [
        *("n_samples=3", "main={widths: [8,32], seeds: [10,6]}", "others={widths: [8,32], seeds: 6}", "depths=[2,3]"),
        *("deep={widths: [8], seeds: 10}", "unequal=[[8,8,8],[4,8,8]]", "unequal_seeds=10"),
        "narrow={widths: [4,8], seeds: 1000}",
    ],
    "theorem2": [SETTING, "widths=[16,64]", "seeds=[6,5]", "direction_seeds=5", MEAN_FIELD],
}
"""Reduced preset → what makes it tiny."""
