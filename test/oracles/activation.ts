import { erf } from './erf';
import { map, type Tensor } from './tensor';

interface Activation {
  readonly value: (x: number) => number;
  readonly derivative: (x: number) => number;
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
const density = (x: number): number => Math.exp(-0.5 * x * x) / Math.sqrt(2 * Math.PI);
const cumulative = (x: number): number => 0.5 * (1 + erf(x / Math.SQRT2));

// The tanh approximation of Hendrycks and Gimpel 2016, "Gaussian error linear units", section 2.
const slope = Math.sqrt(2 / Math.PI);
const inner = (x: number): number => slope * (x + 0.044715 * x ** 3);
const innerDerivative = (x: number): number => slope * (1 + 3 * 0.044715 * x ** 2);

/** Activation functions by Hugging Face's names. */
export const activations: Readonly<Record<string, Activation>> = {
  gelu: { value: (x) => x * cumulative(x), derivative: (x) => cumulative(x) + x * density(x) },
  gelu_new: {
    value: (x) => 0.5 * x * (1 + Math.tanh(inner(x))),
    derivative: (x) => {
      const t = Math.tanh(inner(x));
      return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * innerDerivative(x);
    },
  },
  relu: { value: (x) => Math.max(0, x), derivative: (x) => (x > 0 ? 1 : 0) },
  silu: { value: (x) => x * sigmoid(x), derivative: (x) => sigmoid(x) * (1 + x * (1 - sigmoid(x))) },
  tanh: { value: Math.tanh, derivative: (x) => 1 - Math.tanh(x) ** 2 },
};

const find = (name: string): Activation => {
  const found = activations[name];
  if (!found) throw new Error(`no oracle for the activation ${name}`);
  return found;
};

export const activation = (x: Tensor, name: string): Tensor => map(x, find(name).value);

export const activationBackward = (dy: Tensor, x: Tensor, name: string): Tensor =>
  map(x, (value, i) => dy.data[i]! * find(name).derivative(value));
