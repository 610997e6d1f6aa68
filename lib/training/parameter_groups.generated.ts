// Generated from the schemas of parameter_groups.ts by 'npm run settings': change them instead.

/** Parameters that train in their own way. */
export interface ParameterGroup {
  /**
   * Which parameters, by the names that checkpoints have for them, such as `transformer.h.0.mlp.c_fc.weight`. A `*`
   * stands for any text, dots included, as in `transformer.h.*.mlp.*`; everything else stands for itself.
   */
  readonly match: string;
  /** What the learning rate of these parameters is multiplied by. A number above 0 to 1000. Default 1. */
  readonly learningRateScale?: number;
  /**
   * Their weight decay, biases and norms among them too. A number from 0 to 100. Default: weightDecay for matrices, 0
   * for biases and norms.
   */
  readonly weightDecay?: number;
  /** Whether they are trained; false keeps every bit of them, and their gradients are not computed. Default true. */
  readonly trainable?: boolean;
}
