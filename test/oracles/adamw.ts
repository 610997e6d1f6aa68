export interface AdamWOptions {
  readonly learningRate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  /** 0 for parameters that do not decay. */
  readonly weightDecay: number;
}

/** What the optimizer keeps of one parameter. */
export interface AdamWState {
  readonly parameter: Float64Array;
  readonly moment1: Float64Array;
  readonly moment2: Float64Array;
}

/**
 * One step of AdamW in place (Loshchilov and Hutter 2019, algorithm 2, in PyTorch's order): decay first, then moments,
 * then the step with both bias corrections. `t` counts from 1.
 */
export function adamwStep(state: AdamWState, gradient: Float64Array, t: number, o: AdamWOptions): void {
  const { parameter, moment1, moment2 } = state;
  for (let i = 0; i < parameter.length; i++) {
    const g = gradient[i]!;
    parameter[i]! *= 1 - o.learningRate * o.weightDecay;
    moment1[i] = o.beta1 * moment1[i]! + (1 - o.beta1) * g;
    moment2[i] = o.beta2 * moment2[i]! + (1 - o.beta2) * g * g;
    const mean = moment1[i]! / (1 - o.beta1 ** t);
    const root = Math.sqrt(moment2[i]! / (1 - o.beta2 ** t));
    parameter[i]! -= (o.learningRate * mean) / (root + o.epsilon);
  }
}
