// Generated from the schemas of parameter_groups.ts by 'npm run settings': change them instead.

/** Parameters with settings of their own. */
export interface ParameterGroup {
  /**
   * The parameters, by their names in checkpoints, such as `transformer.h.0.mlp.c_fc.weight`. A `*` matches any text,
   * dots included, as in `transformer.h.*.mlp.*`; everything else matches itself.
   */
  readonly match: string;
  /** Factor of the learning rate of these parameters. A number above 0 to 1000. Default 1. */
  readonly learningRateScale?: number;
  /**
   * Their weight decay, also of biases and norms. A number from 0 to 100. Default: weightDecay for matrices, 0 for
   * biases and norms.
   */
  readonly weightDecay?: number;
  /** Whether they are trained; if false they never change, and their gradients are not computed. Default true. */
  readonly trainable?: boolean;
}
