"""The statements of the paper from §6 to the appendix, and statements beyond the paper that claims test."""

from .statement import CITED, IDENTITY, NOT_THERE, PROTOCOL, Statement, see

EXPERIMENTS = (
    Statement("§6", "All hidden layers have the same width n, σ is ReLU, n_L = 1 and β = 0.1.",
              note=PROTOCOL + "; followed"),
    Statement("§6", "The inputs of the first two experiments lie on the unit circle.",
              note=PROTOCOL + "; but §6.1 trains on N(0, 1) inputs, and so do we"),
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
              ("fig1.smoother",)),
    Statement("§6.1; Figure 1", "The expected kernel is nearly the same at both widths.",
              ("fig1.mean",)),
    Statement("§6.1; Figure 1", "The kernel grows during 200 steps of training.",
              ("fig1.inflation",)),
    Statement("§6.1; Figure 1", "It grows much less at n = 10000, where it hardly moves, than at n = 500.",
              ("fig1.inflation_width",)),
    Statement("Figure 1", "With growing width the kernel converges to a fixed limit, at both times.",
              ("fig1.variance", "fig1.mean", "fig1.inflation_width"),
              "the means at t = 0; the later ones differ by the inflation"),
    Statement("§6.2; Figure 2", "Networks of width 50 and 1000, ten initializations each, are trained on 4 points of "
              "the circle for 1000 steps at learning rate 1.0.", note=PROTOCOL + "; followed in the literal preset"),
    Statement("§6.2; Figure 2", "In the limit the network function is Gaussian at every time and as t → ∞.",
              note=see("§5")),
    Statement("§6.2; Figure 2", "At t = 1000 the networks are near convergence, so that the limit t → ∞ is the one to "
              "compare with.", ("fig2.converged",)),
    Statement("§6.2; Figure 2", "One network of width 10000 gives good enough estimates of Θ_∞⁽⁴⁾ and Σ⁽⁴⁾ for the "
              "percentiles of the limit.", ("fig2.estimate",)),
    Statement("§6.2; Figure 2", "The trained functions have very similar distributions at both widths.",
              ("fig2.coverage", "fig2.narrow"), "each width against the limit"),
    Statement("§6.2; Figure 2", "Their mean is close to that of the limit.", ("fig2.mean",)),
    Statement("§6.2; Figure 2", "Their variance is close to that of the limit.", ("fig2.spread",)),
    Statement("§6.2; Figure 2", "Even at width 50 the NTK indicates the distribution of the trained function well.",
              ("fig2.narrow",)),
    Statement("§6.3; Figure 3", "Kernel principal components of 512 MNIST digits (n_0 = 784) come from power iteration "
              "with the NTK of one network of width 10000, which approximates the limiting kernel.",
              ("fig3.power_iteration",)),
    Statement("§6.3", "The three largest eigenvalues are 0.0457, 0.00108 and 0.00078.",
              ("depth_inference.compatible",), "for the depth and the pixels that the paper does not state"),
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
              ("fig3.inflation_explains",)),
    Statement("§6.3", "Multiplying the NTK by a factor has the same effect as multiplying the learning rate by it.",
              note="an identity"),
    Statement("§6.3", "The NTK of a wide network is more stable during training.", ("fig1.inflation_width",),
              "in the setting of §6.1, not on MNIST"),
    Statement("§6.3", "Wide networks can therefore be trained with larger learning rates.", ("fig3.learning_rate",)),
    Statement("§6.3", "Counted in steps instead of time, speeds of convergence mix the effect of inflation with that "
              "of the learning rate.", note="advice; we compare at equal times"),
)  # fmt: skip

CONCLUSION_AND_APPENDIX = (
    Statement("§7", "The NTK describes the local dynamics of a network under gradient descent.", note=see("§4")),
    Statement("§7", "In the limit, gradient descent on a network is kernel gradient descent with an explicit constant "
              "kernel.", note=see("Theorem 2")),
    Statement("Appendix A", "The proofs let the widths go to infinity one after the other; the results should also "
              "hold when all of them grow together.", ("theorem1.convergence", "theorem1.unequal")),
    Statement("Appendix A", "On finite data, convergence of kernels in operator norm is convergence at every pair of "
              "data points.", note="equivalence of norms in finite dimension: nothing to measure"),
    Statement("Appendix A.1", "Given the last hidden layer, the outputs are independent centred Gaussians, whose "
              "covariance tends to Σ as that layer widens.", ("prop1.outputs", "prop1.covariance")),
    Statement("Appendix A.1", "The NTK is the sum of the last layer's part, which tends to Σ ⊗ Id, and the lower "
              "layers' part, which tends to (Θ_∞ Σ̇) ⊗ Id.", ("remark4.learning",),
              "by the change of f that the parameters of each layer cause"),
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

BEYOND = (
    Statement(NOT_THERE, "The spread of Θ at initialization grows with the depth, and its mean approaches the limit "
              "like 1/n, with a constant that can be derived.",
              ("theorem1.depth", "theorem1.bias", "initial.bias")),
    Statement(NOT_THERE, "The change of Θ in training is predicted to its leading order 1/n, network by network.",
              ("drift.order", "drift.accuracy", "drift.mean", "drift.wide", "drift.figure1")),
    Statement(NOT_THERE, "For ReLU it cannot be predicted so, because neurons switch on and off.",
              ("theorem2.switches", "drift.relu")),
    Statement(NOT_THERE, "Positive definiteness off the sphere and without biases; ranks for polynomial σ.",
              ("prop2.off_sphere", "prop2.polynomial", "prop2.antipodal", "prop2.ray"),
              "prop2.ray: " + IDENTITY),
    Statement(NOT_THERE, "“Smoother” in Figure 1 means no more than “less variance”, and each choice that the paper "
              "leaves open there changes the inflation by less than a factor of two.",
              ("fig1.smoothness_is_variance", "fig1.open_choices")),
    Statement(NOT_THERE, "Late in training along a component, the orthogonal part undoes much of the inflation.",
              ("fig3.cross_term",)),
    Statement(NOT_THERE, "The depth, the scaling of the pixels and the nonlinearity of §6.3 can be inferred from its "
              "three eigenvalues.",
              ("depth_inference.depth", "depth_inference.scaling", "depth_inference.nonlinearity",
               "depth_inference.third_eigenvalue", "depth_inference.recovers", "depth_inference.width")),
)  # fmt: skip
