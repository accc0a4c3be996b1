"""The statements of the paper from the abstract to §5."""

from .statement import CITED, IDENTITY, INTERPRETATION, Statement, see

ABSTRACT = (
    Statement("Abstract; §1", "At initialization an infinitely wide network is a Gaussian process.",
              note=see("Proposition 1")),
    Statement("Abstract; §1.1", "Trained by gradient descent, the network function follows the kernel gradient of the "
              "cost with respect to a kernel of its own, the NTK.", note=see("§4")),
    Statement("Abstract", "The cost is convex as a functional of f, though not as a function of the parameters.",
              note=see("§3")),
    Statement("Abstract; §7", "The NTK governs how a network generalizes, and shows how depth and nonlinearity affect "
              "its ability to learn.",
              note=INTERPRETATION + "; §5 gives the prediction off the data"),
    Statement("Abstract; §1", "At finite width the NTK is random and moves during training; at infinite width it is "
              "an explicit kernel and stays where it is.", note=see("§4, Theorem 1 and Theorem 2")),
    Statement("Abstract", "Training can therefore be studied in function space instead of parameter space.",
              note=INTERPRETATION),
    Statement("Abstract; §1.1; §7", "Whether training converges depends on whether the limiting NTK is positive "
              "definite.", ("kernel_gradient.infimum", "kernel_gradient.stall"),
              IDENTITY + " for the flow in function space, without networks"),
    Statement("Abstract; §1.1", "The limiting NTK is positive definite for data on a sphere and a nonlinearity that is "
              "not a polynomial.", note=see("Proposition 2")),
    Statement("Abstract; §1.1", "In least-squares regression an infinitely wide network obeys a linear differential "
              "equation.", note=see("§5")),
    Statement("Abstract; §1.1; §7", "It learns fastest along the leading kernel principal components, which is a "
              "theoretical reason to stop early.", note=see("§5")),
    Statement("Abstract; §1.1", "Wide networks are found to behave nearly as the limit predicts, on points of the unit "
              "circle and on MNIST.", note=see("§6.1, §6.2 and §6.3")),
)  # fmt: skip

INTRODUCTION = (
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

NETWORKS = (
    Statement("§2", "A network has layers 0 to L, a Lipschitz nonlinearity with a bounded second derivative, and "
              "P = Σ (n_l + 1) n_{l+1} parameters, all drawn from N(0, 1).", note="definition; network.py"),
    Statement("§2", "Preactivations are W α / √n_l + β b, activations are σ of them entry by entry, and f_θ is the "
              "last preactivation.", note="definition; the tests of network.py compare its derivatives with autograd"),
    Statement("§2", "The input distribution is that of a finite data set. It defines a semi-norm on functions, which "
              "depends on their values on the data only.", note="definition"),
    Statement("§2; Remark 1", "β sets the influence of the biases in training, relative to the weights.",
              ("remark1.beta",)),
    Statement("footnote 1", "The results seem to hold without the smoothness of σ that the proofs require.",
              ("fig1.inflation_width", "fig1.two_parts", "theorem2.relu"),
              "for ReLU, L = 4, least squares: the kernel's change vanishes, too, but more slowly than for a smooth σ"),
    Statement("Remark 1", "The usual parametrization has neither 1/√n_l nor β, and draws W from N(0, 1/n_l) and b from "
              "N(0, 1), or sets b to 0.", note="definition of the parametrization that this one is compared with"),
    Statement("Remark 1", "Both parametrizations represent the same set of functions.", ("remark1.functions",),
              IDENTITY),
    Statement("Remark 1", "Relative to the usual parametrization, derivatives with respect to weights are multiplied "
              "by 1/√n_l and those with respect to biases by β.", ("remark1.derivatives", "remark1.map"),
              IDENTITY + ", with what follows from it for learning rates"),
    Statement("Remark 1", "Without the factors 1/√n_l training would have no consistent limit of infinite width.",
              ("remark1.limit",)),
    Statement("Remark 1", "The factors 1/√n_l reduce the influence of the weights of a wide layer in training; a small "
              "β balances this.", ("remark1.balance",)),
    Statement("Remark 1", "β = 0.1 with learning rate 1.0 behaves like a usual network of width 100 with learning rate "
              "0.01.", ("remark1.classical", "remark1.biases", "remark1.inputs"),
              "up to a factor 2 in speed, with biases that start at 0 or as small as βb, on the circle; with biases "
              "from N(0, 1) or inputs of another dimension the result is different"),
)  # fmt: skip

KERNEL_GRADIENT = (
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
    Statement("§3", "No construction depends on the choice of the representative d of a dual element.",
              note="by construction of kernels.py, which takes d on the data alone"),
    Statement("§3", "Φ_K maps the dual element of d to the function whose i-th value at x is the inner product of d "
              "with K_i(x, ·) on the data.", note="definition"),
    Statement("§3", "A cost that depends on f on the data only has a functional derivative that is a dual element.",
              note="chain rule; the tests of costs.py compare d with autograd"),
    Statement("§3", "The kernel gradient is Φ_K of that derivative, and the kernel extends it off the data: its value "
              "at any x is the mean over the data of K(x, x_j) d(x_j).",
              note="definition; that networks follow it off the data is in kernel_gradient.off_data"),
    Statement("§3", "A function of time follows kernel gradient descent if its derivative is minus the kernel gradient "
              "of the cost.", note="definition"),
    Statement("§3", "Along kernel gradient descent the cost decreases at the rate of the squared kernel norm of its "
              "gradient d.", ("kernel_gradient.dissipation",), IDENTITY),
    Statement("§3", "With a positive definite kernel the cost strictly decreases wherever d does not vanish on the "
              "data, so that descent ends at a critical point.", ("kernel_gradient.infimum",), IDENTITY),
    Statement("§3", "If the cost is also convex and bounded below, f converges to a global minimum as t → ∞.",
              ("kernel_gradient.infimum",), IDENTITY + "; cross-entropy has an infimum and no minimum"),
    Statement("§3.1", "P independent random functions with (non-centred) covariance K approximate the kernel K.",
              ("random_functions.law", "random_functions.constant")),
    Statement("§3.1", "The linear model built on them has derivatives f⁽ᵖ⁾/√P, whatever the parameters.",
              note="by definition of the model; the tests of random_functions.py check its descent"),
    Statement("§3.1", "Gradient descent moves its p-th parameter by minus the inner product of d with f⁽ᵖ⁾ on the "
              "data, over √P.", note="chain rule; the tests of random_functions.py check a step"),
    Statement("§3.1", "Gradient descent on the parameters of the linear model is the same as kernel gradient descent "
              "with its tangent kernel, the empirical covariance of the random functions.",
              ("random_functions.descent",), IDENTITY),
    Statement("§3.1", "By the law of large numbers that tangent kernel tends to K as P → ∞.",
              ("random_functions.law",)),
    Statement("§3.1", "Training the random linear model therefore approximates kernel gradient descent with K.",
              ("random_functions.trajectories",)),
)  # fmt: skip

NEURAL_TANGENT_KERNEL = (
    Statement("§4", "The NTK is the sum over all parameters of the tensor square of the derivative of f_θ.",
              note="definition; the tests of tangent.py compare it with autograd"),
    Statement("§4", "Under gradient descent f_θ moves along minus the kernel gradient of the cost with respect to its "
              "present NTK.", ("kernel_gradient.dissipation",), IDENTITY),
    Statement("§4", "A network is not linear in its parameters, so that its NTK depends on them: it is random at "
              "initialization and varies during training.", ("fig1.variance", "fig1.inflation")),
    Statement("§4", "In the limit of infinite width the NTK is deterministic at first and constant afterwards.",
              note=see("Theorem 1 and Theorem 2")),
    Statement("§4", "Because f_θ starts as a Gaussian process, its training has an explicit limit in function space.",
              note=see("Theorem 2 and §5")),
    Statement("Proposition 1; §4.1", "As the hidden widths grow, each output of a network with Lipschitz σ tends in "
              "law to a centred Gaussian process.", ("prop1.joint", "prop1.gaussian")),
    Statement("Proposition 1; §4.1", "Different outputs become independent of each other and equally distributed.",
              ("prop1.independence", "prop1.joint")),
    Statement("Proposition 1; §4.1", "The covariance of the limit is Σ⁽ᴸ⁾, which starts from xᵀx'/n_0 + β² and passes "
              "through a layer as the Gaussian expectation of σσ, plus β².", ("prop1.covariance",)),
    Statement("Remark 2", "Only the pair of values at two inputs is ever needed, so that the existence of the Gaussian "
              "process need not be discussed.", note="logic of the proof: nothing to measure"),
    Statement("Theorem 1; §4.1", "At initialization, for Lipschitz σ, the NTK converges in probability to a "
              "deterministic kernel as the hidden widths grow.",
              ("theorem1.convergence", "theorem1.nonlinearities")),
    Statement("Theorem 1; §4.1", "The limit is a scalar kernel times the identity: the blocks of two different outputs "
              "vanish.", ("theorem1.outputs",)),
    Statement("Theorem 1; §4.1", "The scalar kernel starts from Σ⁽¹⁾ and passes through a layer by multiplication with "
              "Σ̇ and addition of Σ.", ("theorem1.convergence",),
              "which takes Θ_∞ from this recursion"),
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
              ("theorem2.limit", "theorem2.constant", "theorem2.directions", "drift.order")),
    Statement("Theorem 2; §4.2", "In that limit f_θ obeys kernel gradient descent with the fixed limiting kernel, for "
              "any such direction.", ("kernel_gradient.on_data", "kernel_gradient.off_data", "least_squares.width"),
              "for gradients of a cost"),
    Statement("Remark 4", "The wider a hidden layer, the less each of its activations moves during training.",
              ("remark4.activations",)),
    Statement("Remark 4", "All activations of a layer together move enough for the lower layers to learn.",
              ("remark4.learning",)),
    Statement("Remark 4", "In the recursion for the limiting NTK the term Σ is the learning of the last layer, and the "
              "product term that of the lower layers.", ("remark4.learning",)),
    Statement("§4.2", "Kernel gradient descent with a positive definite kernel reaches a critical point of the cost.",
              note=see("§3")),
    Statement("§4.2", "The limiting NTK is positive definite if the derivatives of f_θ span a dense set of functions "
              "as the width grows.", note="on finite data this says that the kernel's matrix has full rank: "
              "see Proposition 2"),
    Statement("§4.2", "For many data distributions and nonlinearities the preactivations of the last layer can be "
              "expected to span such a set.", note="a postulate, for which the paper offers no proof"),
    Statement("Proposition 2; §4.2", "For σ Lipschitz and not a polynomial, and L ≥ 2, the limiting NTK is positive "
              "definite on the unit sphere of any dimension.",
              ("prop2.sphere",)),
)  # fmt: skip

LEAST_SQUARES = (
    Statement("§5", "The least-squares cost is half the squared distance ‖f − f*‖² on the data.", note="definition"),
    Statement("§5", "Theorem 1 and Theorem 2 apply to a network trained on it.", note=see("Theorem 1 and Theorem 2")),
    Statement("§5", "Kernel gradient descent is then a linear differential equation, solved by "
              "f_t = f* + exp(−tΠ)(f_0 − f*).", ("least_squares.width",),
              "of networks, which tend to this solution"),
    Statement("§5", "exp(−tΠ) has the eigenfunctions of Π, with eigenvalues exp(−tλ_i).",
              note="linear algebra"),
    Statement("§5", "On N data points Π is the mean over the data of f times the kernel.",
              note="a definition spelt out; the code is checked against it"),
    Statement("§5", "Π has at most N n_L positive eigenvalues, whose eigenfunctions are the kernel principal "
              "components of the data.", note="linear algebra: the bound is the size of a matrix"),
    Statement("§5", "Each eigenvalue is the variance that its component captures.", ("least_squares.variance",)),
    Statement("§5", "The component of f_0 − f* along each eigenspace decays at its own rate exp(−tλ_i), while the part "
              "in the null space of Π stays.", ("least_squares.decay", "least_squares.null_space"),
              "the latter: " + IDENTITY),
    Statement("§5", "Convergence is faster along components of larger eigenvalue, so that early stopping fits those "
              "and leaves the others out.", ("least_squares.decay", "least_squares.early_stopping")),
    Statement("§5", "Components of small eigenvalue are typically noisier.",
              ("least_squares.signal_to_noise",)),
    Statement("§5", "For the RBF kernel, small eigenvalues belong to functions of high frequency.",
              ("least_squares.frequency",)),
    Statement("§5", "A Gaussian f_0 gives a Gaussian f_t at every time.", ("least_squares.gaussian",)),
    Statement("§5", "A kernel that is positive definite on the data has an invertible N n_L × N n_L Gram matrix.",
              note="linear algebra"),
    Statement("§5", "As t → ∞, f becomes the kernel interpolant of the targets plus f_0 minus the interpolant of its "
              "own values on the data.", ("least_squares.infinity",), IDENTITY),
    Statement("§5", "The interpolant of the targets is the MAP estimate under a Gaussian prior of covariance Θ_∞, "
              "given the values on the data.", ("least_squares.infinity",), IDENTITY),
    Statement("§5", "It is also kernel ridge regression with the ridge taken to 0.", ("least_squares.ridge",),
              IDENTITY),
    Statement("§5", "The other part of f_∞ is, over initializations, Gaussian with mean 0 and variance 0 on the data.",
              ("fig2.mean", "fig2.vanishes", "fig2.gaussian")),
)  # fmt: skip
