"""Every statement of the paper, in our own words, and what tests it.

`STATEMENTS` follows the paper (arXiv 1806.07572 v4) from the abstract to the appendix. A statement is tested by
claims, or carries a note that says why it needs none or allows none, or is not yet tested. `table` renders all of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Statement:
    """One assertion of the paper."""

    place: str
    """Where in the paper."""
    text: str
    """Our wording, one sentence."""
    claims: tuple[str, ...] = ()
    """Ids of the claims that test it."""
    note: str = ""
    """With claims: what they leave out. Without: why no claim tests it."""


INTERPRETATION = "interpretation: asserts nothing that can be measured"
CITED = "a result of earlier work, cited as background"
PROTOCOL = "protocol"


def see(places: str) -> str:
    """The note of a summary: the statement is made precise, and tested, elsewhere in the table."""
    return f"summary: see {places}"


_ABSTRACT = (
    Statement("Abstract; §1", "At initialization an infinitely wide network is a Gaussian process.",
              note=see("Proposition 1")),
    Statement("Abstract; §1.1", "Trained by gradient descent, the network function follows the kernel gradient of the "
              "cost with respect to a kernel of its own, the NTK.", note=see("§4")),
    Statement("Abstract", "The cost is convex as a functional of f, though not as a function of the parameters.",
              note=see("§3")),
    Statement("Abstract; §7", "The NTK is what governs how a network generalizes, and shows what depth and "
              "nonlinearity do to its ability to learn.",
              note=INTERPRETATION + "; §5 gives the prediction off the data"),
    Statement("Abstract; §1", "At finite width the NTK is random and moves during training; at infinite width it is "
              "an explicit kernel and stays where it is.", note=see("§4, Theorem 1 and Theorem 2")),
    Statement("Abstract", "Training can therefore be studied in function space instead of parameter space.",
              note=INTERPRETATION),
    Statement("Abstract; §1.1; §7", "Whether training converges depends on whether the limiting NTK is positive "
              "definite.", note=see("§3")),
    Statement("Abstract; §1.1", "The limiting NTK is positive definite for data on a sphere and a nonlinearity that is "
              "not a polynomial.", note=see("Proposition 2")),
    Statement("Abstract; §1.1", "In least-squares regression an infinitely wide network obeys a linear differential "
              "equation.", note=see("§5")),
    Statement("Abstract; §1.1; §7", "It learns fastest along the leading kernel principal components, which is a "
              "theoretical reason to stop early.", note=see("§5")),
    Statement("Abstract; §1.1", "Wide networks are found to behave nearly as the limit predicts, on points of the unit "
              "circle and on MNIST.", note=see("§6.1, §6.2 and §6.3")),
)  # fmt: skip

_INTRODUCTION = (
    Statement("§1", "With enough hidden neurons a network approximates any function.", note=CITED),
    Statement("§1", "It is unknown to what the optimization of a network converges, and the training dynamics of deep "
              "networks had not been solved before.", note="history: the state of knowledge in 2018"),
    Statement("§1", "The loss surface of a network is far from convex, with many saddle points that can slow training "
              "down.", note=CITED),
    Statement("§1", "Wide networks have few local minima that are much worse than the global one.", note=CITED),
    Statement("§1", "Networks that are large enough to fit random labels still generalize from true ones, and so do "
              "kernel methods.", note=CITED),
    Statement("§1", "Bayesian inference and support vector machines with the kernel of the Gaussian process perform "
              "about as well as networks trained by gradient descent.", note=CITED),
    Statement("§1.1; §7", "The limiting kernel depends on depth, nonlinearity and initialization variance alone.",
              note=see("Theorem 1")),
    Statement("§1.1", "The NTK also determines the values that training gives to the network off the training set.",
              ("kernel_gradient.off_data",)),
    Statement("§1.1", "The Jacobian of the linear differential equation has the kernel principal components of the "
              "inputs as eigenfunctions.", note=see("§5")),
)  # fmt: skip

_NETWORKS = (
    Statement("§2", "A network has layers 0 to L, a Lipschitz nonlinearity with a bounded second derivative, and "
              "P = Σ (n_l + 1) n_{l+1} parameters, all drawn from N(0, 1).", note="definition; network.py"),
    Statement("§2", "Preactivations are W α / √n_l + β b, activations are σ of them entry by entry, and f_θ is the "
              "last preactivation.", note="definition; the tests of network.py compare its derivatives with autograd"),
    Statement("§2", "The input distribution is that of a finite data set and defines a semi-norm on functions, which "
              "sees their values on the data only.", note="definition"),
    Statement("§2; Remark 1", "β sets how much the biases count in training, against the weights.",
              ("remark1.beta",)),
    Statement("footnote 1", "The results seem to hold without the smoothness that the proofs ask of σ.",
              ("fig1.inflation_width", "theorem2.relu", "theorem2.switches", "drift.relu"),
              "for ReLU, L = 4, least squares: at the slower rate n^{−1/2}"),
    Statement("Remark 1", "The usual parametrization has neither 1/√n_l nor β, and draws W from N(0, 1/n_l) and b from "
              "N(0, 1), or sets b to 0.", note="definition of the parametrization that this one is compared with"),
    Statement("Remark 1", "Both parametrizations represent the same set of functions.", ("remark1.functions",)),
    Statement("Remark 1", "Relative to the usual parametrization, derivatives with respect to weights are multiplied "
              "by 1/√n_l and those with respect to biases by β.", ("remark1.derivatives", "remark1.map")),
    Statement("Remark 1", "Without the factors 1/√n_l training would have no consistent limit of infinite width.",
              ("remark1.limit",)),
    Statement("Remark 1", "The factors 1/√n_l make the weights of a wide layer count for little in training, which a "
              "small β balances.", ("remark1.balance",)),
    Statement("Remark 1", "β = 0.1 with learning rate 1.0 behaves like a usual network of width 100 with learning rate "
              "0.01.", ("remark1.classical", "remark1.biases", "remark1.inputs"),
              "to a factor 2 in speed, with biases that start at 0 or as small as βb, on the circle; usual biases from "
              "N(0, 1) or inputs of another dimension make it another comparison"),
)  # fmt: skip

_KERNEL_GRADIENT = (
    Statement("§3", "A convex cost of f is, in general, far from convex in the parameters.",
              note=CITED + "; not quantified"),
    Statement("§3", "During training the network function descends along the kernel gradient of the NTK, in a space "
              "where the cost is convex.", note=see("§4")),
    Statement("§3", "A multi-dimensional kernel gives an n_L × n_L matrix for each pair of inputs, transposed when "
              "they are exchanged, and so a symmetric bilinear form on functions.", note="definition"),
    Statement("§3", "A kernel is positive definite with respect to the data if every function that does not vanish on "
              "them has positive kernel norm.", note="definition"),
    Statement("§3", "Two functions represent the same dual element exactly when they agree on the data.",
              note="by definition of the dual; kernels.py takes functions by their values on the data alone"),
    Statement("§3", "No construction depends on which representative d of a dual element is taken.",
              note="by construction of kernels.py, which takes d on the data alone"),
    Statement("§3", "Φ_K maps the dual element of d to the function whose i-th value at x is the inner product of d "
              "with K_i(x, ·) on the data.", note="definition"),
    Statement("§3", "A cost that looks at f on the data only has a functional derivative that is a dual element.",
              note="chain rule; the tests of costs.py compare d with autograd"),
    Statement("§3", "The kernel gradient is Φ_K of that derivative, and the kernel extends it off the data: its value "
              "at any x is the mean over the data of K(x, x_j) d(x_j).", ("kernel_gradient.off_data",)),
    Statement("§3", "A function of time follows kernel gradient descent if its derivative is minus the kernel gradient "
              "of the cost.", note="definition"),
    Statement("§3", "Along kernel gradient descent the cost decreases at the rate of the squared kernel norm of its "
              "gradient d.", ("kernel_gradient.dissipation",)),
    Statement("§3", "With a positive definite kernel the cost strictly decreases wherever d does not vanish on the "
              "data, so that descent ends at a critical point.", ("kernel_gradient.infimum", "kernel_gradient.stall")),
    Statement("§3", "If the cost is also convex and bounded below, f converges to a global minimum as t → ∞.",
              ("kernel_gradient.infimum",), "cross-entropy has an infimum and no minimum"),
    Statement("§3.1", "P independent random functions with (non-centred) covariance K approximate the kernel K.",
              ("random_functions.law", "random_functions.constant")),
    Statement("§3.1", "The linear model built on them has derivatives f⁽ᵖ⁾/√P, whatever the parameters.",
              note="by definition of the model; the tests of random_functions.py check its descent"),
    Statement("§3.1", "Gradient descent moves its p-th parameter by minus the inner product of d with f⁽ᵖ⁾ on the "
              "data, over √P.", ("random_functions.descent",)),
    Statement("§3.1", "Gradient descent on the parameters of the linear model is the same as kernel gradient descent "
              "with its tangent kernel, the empirical covariance of the random functions.",
              ("random_functions.descent",)),
    Statement("§3.1", "By the law of large numbers that tangent kernel tends to K as P → ∞.",
              ("random_functions.law",)),
    Statement("§3.1", "Training the random linear model therefore approximates kernel gradient descent with K.",
              ("random_functions.trajectories",)),
)  # fmt: skip

_NEURAL_TANGENT_KERNEL = (
    Statement("§4", "The NTK is the sum over all parameters of the tensor square of the derivative of f_θ.",
              note="definition; the tests of tangent.py compare it with autograd"),
    Statement("§4", "Under gradient descent f_θ moves along minus the kernel gradient of the cost with respect to the "
              "NTK of the moment.", ("kernel_gradient.dissipation", "kernel_gradient.on_data")),
    Statement("§4", "A network is not linear in its parameters, so that its NTK depends on them: it is random at "
              "initialization and varies during training.", ("fig1.variance", "fig1.inflation")),
    Statement("§4", "In the limit of infinite width the NTK is deterministic at first and constant afterwards.",
              note=see("Theorem 1 and Theorem 2")),
    Statement("§4", "As f_θ starts as a Gaussian process, its whole training has an explicit limit in function space.",
              note=see("Theorem 2 and §5")),
    Statement("Proposition 1; §4.1", "As the hidden widths grow, each output of a network with Lipschitz σ tends in "
              "law to a centred Gaussian process.", ("prop1.joint", "prop1.gaussian")),
    Statement("Proposition 1; §4.1", "Different outputs become independent of each other and equally distributed.",
              ("prop1.independence", "prop1.outputs")),
    Statement("Proposition 1; §4.1", "The covariance of the limit is Σ⁽ᴸ⁾, which starts from xᵀx'/n_0 + β² and passes "
              "through a layer as the Gaussian expectation of σσ, plus β².", ("prop1.covariance",)),
    Statement("Remark 2", "Only the pair of values at two inputs is ever needed, so that the existence of the Gaussian "
              "process need not be discussed.", note="logic of the proof: nothing to measure"),
    Statement("Theorem 1; §4.1", "At initialization, for Lipschitz σ, the NTK converges in probability to a "
              "deterministic kernel as the hidden widths grow.",
              ("theorem1.convergence", "theorem1.nonlinearities", "initial.bias")),
    Statement("Theorem 1; §4.1", "The limit is a scalar kernel times the identity: the blocks of two different outputs "
              "vanish.", ("theorem1.outputs",)),
    Statement("Theorem 1; §4.1", "The scalar kernel starts from Σ⁽¹⁾ and passes through a layer by multiplication with "
              "Σ̇ and addition of Σ.", ("theorem1.convergence", "theorem1.bias")),
    Statement("Theorem 1; §4.1", "Beside the inputs, the limiting kernel depends only on σ, depth and initialization "
              "variance.", note="by construction of limit.py, which takes nothing random; β and n_0 enter as well"),
    Statement("Remark 3", "A Lipschitz σ has a derivative almost everywhere, which suffices to define Σ̇.",
              note="Rademacher's theorem; the tests of nonlinearities.py check Σ̇ for ReLU"),
    Statement("§4.2", "The NTK stays constant during training in the limit.", note=see("Theorem 2")),
    Statement("§4.2", "Training may follow any direction d_t: each parameter moves by the inner product of d_t with "
              "its derivative on the data.", note="definition"),
    Statement("§4.2", "Gradient descent is the case in which d_t is minus the gradient of the cost.",
              note="chain rule; the tests of training.py compare gradient steps with autograd"),
    Statement("§4.2", "The direction may come from another network, as in a generative adversarial network.",
              ("theorem2.directions",)),
    Statement("§4.2; §5", "For least squares the integral of the norm of d_t stays bounded, because that norm "
              "decreases during training.", ("least_squares.bounded",)),
    Statement("Theorem 2; §4.2", "For σ Lipschitz with a bounded second derivative, and directions of stochastically "
              "bounded integral, the NTK converges to the same limit uniformly on [0, T].",
              ("theorem2.limit", "theorem2.constant", "theorem2.directions", "drift.order", "drift.accuracy",
               "drift.mean", "drift.wide"),
              "drift: beyond the statement, what vanishes is predicted to its leading order"),
    Statement("Theorem 2; §4.2", "In that limit f_θ obeys kernel gradient descent with the fixed limiting kernel, for "
              "any such direction.", ("kernel_gradient.on_data", "kernel_gradient.off_data", "least_squares.width"),
              "for gradients of a cost"),
    Statement("Remark 4", "The wider a hidden layer, the less each of its activations moves during training.",
              ("remark4.activations",)),
    Statement("Remark 4", "All activations of a layer together move enough for the lower layers to learn.",
              ("remark4.learning",)),
    Statement("Remark 4", "In the recursion for the limiting NTK the term Σ is what the last layer learns and the "
              "product term what the lower layers learn.", ("remark4.learning",)),
    Statement("§4.2", "Kernel gradient descent with a positive definite kernel reaches a critical point of the cost.",
              note=see("§3")),
    Statement("§4.2", "The limiting NTK is positive definite if the derivatives of f_θ span a dense set of functions "
              "as the width grows.", note="on finite data this says that the kernel's matrix has full rank: "
              "see Proposition 2"),
    Statement("§4.2", "For many data distributions and nonlinearities the preactivations of the last layer can be "
              "expected to span such a set.", note="a postulate, for which the paper offers no proof"),
    Statement("Proposition 2; §4.2", "For σ Lipschitz and not a polynomial, and L ≥ 2, the limiting NTK is positive "
              "definite on the unit sphere of any dimension.",
              ("prop2.sphere", "prop2.off_sphere", "prop2.polynomial", "prop2.antipodal", "prop2.ray")),
)  # fmt: skip

_LEAST_SQUARES = (
    Statement("§5", "The least-squares cost is half the squared distance ‖f − f*‖² on the data.", note="definition"),
    Statement("§5", "Theorem 1 and Theorem 2 apply to a network trained on it.", note=see("Theorem 1 and Theorem 2")),
    Statement("§5", "Kernel gradient descent is then a linear differential equation, solved by "
              "f_t = f* + exp(−tΠ)(f_0 − f*).", ("least_squares.width",)),
    Statement("§5", "exp(−tΠ) has the eigenfunctions of Π, with eigenvalues exp(−tλ_i).", ("least_squares.decay",)),
    Statement("§5", "On N data points Π is the mean over the data of f times the kernel.",
              note="a definition spelt out; the code is checked against it"),
    Statement("§5", "Π has at most N n_L positive eigenvalues, whose eigenfunctions are the kernel principal "
              "components of the data.",
              ("least_squares.null_space",), note="the bound itself is the size of a matrix"),
    Statement("§5", "Each eigenvalue is the variance that its component captures.", ("least_squares.variance",)),
    Statement("§5", "The component of f_0 − f* along each eigenspace decays at its own rate exp(−tλ_i), while the part "
              "in the null space of Π stays.", ("least_squares.decay", "least_squares.null_space")),
    Statement("§5", "Convergence is faster along components of larger eigenvalue, so that early stopping fits those "
              "and leaves the others out.", ("least_squares.decay", "least_squares.early_stopping")),
    Statement("§5", "Components of small eigenvalue are typically the noisier ones.",
              ("least_squares.signal_to_noise",)),
    Statement("§5", "For the RBF kernel, small eigenvalues belong to functions of high frequency.",
              ("least_squares.frequency",)),
    Statement("§5", "A Gaussian f_0 gives a Gaussian f_t at every time.", ("least_squares.gaussian",)),
    Statement("§5", "A kernel that is positive definite on the data has an invertible N n_L × N n_L Gram matrix.",
              note="linear algebra"),
    Statement("§5", "As t → ∞, f becomes the kernel interpolant of the targets plus f_0 minus the interpolant of its "
              "own values on the data.", ("least_squares.infinity",)),
    Statement("§5", "The interpolant of the targets is the MAP estimate under a Gaussian prior of covariance Θ_∞, "
              "given the values on the data.", ("least_squares.infinity",)),
    Statement("§5", "It is also kernel ridge regression with the ridge taken to 0.", ("least_squares.ridge",)),
    Statement("§5", "What is added to it is, over initializations, Gaussian with mean 0 and no variance on the data.",
              ("fig2.vanishes", "fig2.gaussian")),
)  # fmt: skip

_EXPERIMENTS = (
    Statement("§6", "All hidden layers have the same width n, σ is ReLU, n_L = 1 and β = 0.1.",
              note=PROTOCOL + "; followed"),
    Statement("§6", "The inputs of the first two experiments lie on the unit circle.",
              note=PROTOCOL + "; §6.1 trains on N(0, 1) inputs all the same, and so do we"),
    Statement("§6", "Centred data of high dimension often have nearly equal norms, which motivates inputs on a circle.",
              note="motivation; nothing depends on it"),
    Statement("footnote 2", "The norms of standard Gaussian vectors concentrate about √n_0 as the dimension grows.",
              note="a textbook fact; nothing depends on it"),
    Statement("§6", "A wide network with n_L outputs behaves like n_L scalar networks trained independently.",
              ("multi_output.independent",)),
    Statement("§6.1; Figure 1", "Θ⁽⁴⁾(x_0, x) is drawn along the circle for n = 500 and 10000, ten initializations "
              "each, at t = 0 and after 200 steps at learning rate 1.0 towards f* = x_1 x_2.",
              note=PROTOCOL + "; followed in the literal preset; fig1.open_choices varies what it leaves open"),
    Statement("§6.1; Figure 1", "The wider network's kernel varies less between initializations.", ("fig1.variance",)),
    Statement("§6.1; Figure 1", "The wider network's kernel is a smoother function of the angle.",
              ("fig1.smoother", "fig1.smoothness_is_variance")),
    Statement("§6.1; Figure 1", "The expected kernel is nearly the same at both widths.",
              ("fig1.mean",)),
    Statement("§6.1; Figure 1", "The kernel grows during 200 steps of training.",
              ("fig1.inflation", "fig1.open_choices", "drift.figure1")),
    Statement("§6.1; Figure 1", "It grows much less at n = 10000, where it hardly moves, than at n = 500.",
              ("fig1.inflation_width",)),
    Statement("Figure 1", "With growing width the kernel converges to a fixed limit, at both times.",
              ("fig1.variance", "fig1.mean", "fig1.inflation_width")),
    Statement("§6.2; Figure 2", "Networks of width 50 and 1000, ten initializations each, are trained on 4 points of "
              "the circle for 1000 steps at learning rate 1.0.", note=PROTOCOL + "; followed in the literal preset"),
    Statement("§6.2; Figure 2", "In the limit the network function is Gaussian at every time and as t → ∞.",
              note=see("§5")),
    Statement("§6.2; Figure 2", "At t = 1000 the networks are near convergence, so that the limit t → ∞ is the one to "
              "compare with.", ("fig2.converged",)),
    Statement("§6.2; Figure 2", "One network of width 10000 gives good enough estimates of Θ_∞⁽⁴⁾ and Σ⁽⁴⁾ for the "
              "percentiles of the limit.", ("fig2.estimate",)),
    Statement("§6.2; Figure 2", "The trained functions have very similar distributions at both widths.",
              ("fig2.coverage", "fig2.gaussian", "fig2.narrow")),
    Statement("§6.2; Figure 2", "Their mean is close to that of the limit.", ("fig2.mean",)),
    Statement("§6.2; Figure 2", "Their variance is close to that of the limit.", ("fig2.spread",)),
    Statement("§6.2; Figure 2", "Already at width 50 the NTK indicates well how the trained function is distributed.",
              ("fig2.narrow",)),
    Statement("§6.3; Figure 3", "Kernel principal components of 512 MNIST digits (n_0 = 784) come from power iteration "
              "with the NTK of one network of width 10000, which approximates the limiting kernel.",
              ("fig3.power_iteration",)),
    Statement("§6.3", "The three largest eigenvalues are 0.0457, 0.00108 and 0.00078.",
              ("depth_inference.compatible", "depth_inference.third_eigenvalue", "depth_inference.depth",
               "depth_inference.scaling", "depth_inference.nonlinearity", "depth_inference.recovers",
               "depth_inference.width")),
    Statement("§6.3", "As the PCA is not centred, the first component is almost constant.",
              ("fig3.first_constant",)),
    Statement("§6.3", "That explains the large gap between the first two eigenvalues.", ("fig3.gap",)),
    Statement("footnote 3", "With β = 1 instead of 0.1 the gap between the first two principal components is about ten "
              "times larger.", ("fig3.footnote3",)),
    Statement("footnote 3", "A larger gap makes training harder.",
              note="not tested: the paper names no measure of hardness"),
    Statement("§6.3; Figure 3a", "The second and third components tell much more about the digits than the first.",
              note="shown in Figure 3a, where the digits' classes are in colour"),
    Statement("§6.3", "If f_0 − f* is along one principal component, kernel gradient descent goes straight to f* at "
              "the exponential rate of its eigenvalue.", ("fig3.straight", "fig3.limit")),
    Statement("§6.3; Figure 3", "Networks of width 100, 1000 and 10000, two trials each, are trained towards their own "
              "initial function plus half the second component.",
              note=PROTOCOL + "; followed, with the second component of the limiting kernel", claims=("fig3.descent",)),
    Statement("§6.3; Figure 3", "In the limit the distance along the second component is 0.5 exp(−λ₂t), and nothing "
              "appears orthogonally to it.", ("fig3.limit", "fig3.straight")),
    Statement("§6.3; Figure 3b", "The wider the network, the less it leaves the straight line.", ("fig3.straight",)),
    Statement("§6.3; Figure 3c", "With growing width the decay along the second component tends to that of the limit.",
              ("fig3.limit",)),
    Statement("§6.3; Figure 3c", "Narrower networks converge faster.", ("fig3.faster",)),
    Statement("§6.3", "Inflation of the NTK, as in Figure 1, may be why narrower networks converge faster.",
              ("fig3.inflation_explains", "fig3.cross_term")),
    Statement("§6.3", "Multiplying the NTK by a factor does the same as multiplying the learning rate by it.",
              note="an identity"),
    Statement("§6.3", "The NTK of a wide network is more stable during training.", ("fig1.inflation_width",),
              "in the setting of §6.1, not on MNIST"),
    Statement("§6.3", "Wide networks can therefore be trained with larger learning rates.", ("fig3.learning_rate",)),
    Statement("§6.3", "Counted in steps instead of time, speeds of convergence mix the effect of inflation with that "
              "of the learning rate.", note="advice; we compare at equal times"),
)  # fmt: skip

_CONCLUSION_AND_APPENDIX = (
    Statement("§7", "The NTK describes the local dynamics of a network under gradient descent.", note=see("§4")),
    Statement("§7", "In the limit, gradient descent on a network is kernel gradient descent with an explicit constant "
              "kernel.", note=see("Theorem 2")),
    Statement("Appendix A", "The proofs let the widths go to infinity one after the other; the results should also "
              "hold when all of them grow together.", ("theorem1.convergence", "theorem1.unequal", "theorem1.depth")),
    Statement("Appendix A", "On finite data, convergence of kernels in operator norm is convergence at every pair of "
              "data points.", note="equivalence of norms in finite dimension: nothing to measure"),
    Statement("Appendix A.1", "Given the last hidden layer, the outputs are independent centred Gaussians, whose "
              "covariance tends to Σ as that layer widens.", ("prop1.outputs", "prop1.covariance")),
    Statement("Appendix A.1", "The NTK is the sum of the last layer's part, which tends to Σ ⊗ Id, and the lower "
              "layers' part, which tends to (Θ_∞ Σ̇) ⊗ Id.", ("remark4.learning",)),
    Statement("Appendix A.2", "With L = 1 the NTK contains no parameter, so that it is constant at any width.",
              note="exact, by the definition of the NTK"),
    Statement("Appendix A.2", "The lower layers are themselves a network, trained along the direction that the layers "
              "above pass back.", note="chain rule; the tests of network.py compare the backward pass with autograd"),
    Statement("Appendix A.2", "On [0, T] the preactivations of the last hidden layer, and the weights that leave one "
              "of its neurons, move by no more than order 1/√n.", ("remark4.activations",),
              "activations; of the weights, theorem2.weights has the norm of the matrix"),
    Statement("Appendix A.3; Lemma 1", "The change of each weight matrix during training, over √n_l, vanishes in "
              "operator norm as the widths grow.", ("theorem2.weights",)),
    Statement("Appendix A.4", "Θ_∞⁽ᴸ⁾ is positive definite whenever Σ⁽ᴸ⁾ is, because the product term of the recursion "
              "is positive semi-definite.", note="by the recursion and the Schur product theorem"),
    Statement("Appendix A.4", "For σ not constant, positive definiteness of Σ passes from each layer to the next.",
              note="see prop2.sphere, which has Θ_∞ of every depth from 2 on"),
    Statement("Appendix A.4", "A power series in xᵀx' is positive definite on spheres of every dimension exactly when "
              "infinitely many even and infinitely many odd coefficients are positive.", note=CITED),
    Statement("Appendix A.4", "The expectation of σσ over two unit Gaussians is a power series in their correlation, "
              "whose coefficients are the squared Hermite coefficients of σ.", note=CITED),
    Statement("Appendix A.4", "With β > 0, on the sphere, Σ⁽²⁾ of a non-polynomial σ has infinitely many positive "
              "coefficients of either parity.",
              note="infinitely many cannot be measured; prop2.sphere has what follows from them"),
)  # fmt: skip

STATEMENTS: tuple[Statement, ...] = (
    *_ABSTRACT,
    *_INTRODUCTION,
    *_NETWORKS,
    *_KERNEL_GRADIENT,
    *_NEURAL_TANGENT_KERNEL,
    *_LEAST_SQUARES,
    *_EXPERIMENTS,
    *_CONCLUSION_AND_APPENDIX,
)


def table(verdicts: Mapping[str, str], statements: Sequence[Statement] = STATEMENTS) -> str:
    """A Markdown table of the statements, given the verdict of each claim that was run.

    >>> print(table({"a.b": "holds"}, [Statement("§1", "It is so.", ("a.b",)), Statement("§2", "So is this.")]))
    | Place | Statement | Tested by | Verdict |
    |---|---|---|---|
    | §1 | It is so. | `a.b` | holds |
    | §2 | So is this. | – | not yet tested |
    """
    lines = [("Place", "Statement", "Tested by", "Verdict"), *rows(verdicts, statements)]
    header, *body = ["| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines]
    return "\n".join([header, "|---|---|---|---|", *body])


def rows(verdicts: Mapping[str, str], statements: Sequence[Statement] = STATEMENTS) -> list[tuple[str, str, str, str]]:
    """Place, statement, what tests it, verdict: a row for each statement, given the verdict of each claim."""
    return [_row(statement, verdicts) for statement in statements]


def _row(statement: Statement, verdicts: Mapping[str, str]) -> tuple[str, str, str, str]:
    if not statement.claims:
        return statement.place, statement.text, "–", statement.note or "not yet tested"
    tested_by = ", ".join(f"`{claim}`" for claim in statement.claims)
    if statement.note:
        tested_by += f" ({statement.note})"
    decided = [verdicts.get(claim, "not run") for claim in statement.claims]
    if len(decided) > 1:
        decided = [f"`{claim}`: {verdict}" for claim, verdict in zip(statement.claims, decided, strict=True)]
    return statement.place, statement.text, tested_by, "; ".join(decided)
