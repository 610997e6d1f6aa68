import { TesseraeError } from '../errors';
import type {
  Attribute,
  AxisSpec,
  FactorSpec,
  Graph,
  Initializer,
  InputSpec,
  NodeSpec,
  ParameterSpec,
} from './graph';

/** The name of a value in a Graph under construction. */
export type Value = string;

/** Optional properties of a parameter. */
export type ParameterOptions = Omit<ParameterSpec, 'name' | 'axes' | 'init' | 'decay'> & {
  readonly decay?: boolean;
};

/** The kind of an input and its properties. */
export type InputOptions = InputSpec extends infer Spec
  ? Spec extends InputSpec
    ? Omit<Spec, 'name' | 'axes'>
    : never
  : never;

/** Factors of an axis, for readable model code. */
export const count = (size: number): FactorSpec => ({ size, role: 'count' });
export const width = (size: number): FactorSpec => ({ size, role: 'width' });
export const head = (size: number): FactorSpec => ({ size, role: 'head' });
export const vocabulary = (size: number): FactorSpec => ({ size, role: 'vocabulary' });

/** Initializers. */
export const normal = (std: number): Initializer => ({ type: 'normal', std });
export const zeros: Initializer = { type: 'constant', value: 0 };
export const ones: Initializer = { type: 'constant', value: 1 };
/** Sinusoidal positions (Vaswani et al. 2017, section 3.5). */
export const sinusoidal: Initializer = { type: 'sinusoidal' };

/**
 * Builds a Graph node by node, in the order of the forward pass. Names of parameters are those of the checkpoint.
 *
 * @example
 * const g = new GraphBuilder('tiny');
 * const vocab = g.axis('vocab', vocabulary(256)), embd = g.axis('embd', width(64));
 * const wte = g.parameter('wte.weight', [vocab, embd], normal(0.02), { decay: true });
 */
export class GraphBuilder {
  private readonly lengthAxes: string[] = [];
  private readonly axes: AxisSpec[] = [];
  private readonly parameters: ParameterSpec[] = [];
  private readonly inputs: InputSpec[] = [];
  private readonly nodes: NodeSpec[] = [];
  private readonly names = new Set<string>();

  constructor(private readonly name: string) {}

  /** Declares an axis whose length each batch decides; returns its name. */
  lengthAxis(name: string): string {
    this.claim(`axis ${name}`);
    this.lengthAxes.push(name);
    return name;
  }

  /** Declares an axis as a product of factors, slowest first; returns its name. */
  axis(name: string, ...factors: FactorSpec[]): string {
    this.claim(`axis ${name}`);
    this.axes.push({ name, factors });
    return name;
  }

  /** Declares a parameter. `decay` defaults to false; set it for matrices. */
  parameter(name: string, axes: readonly string[], init: Initializer, options: ParameterOptions = {}): Value {
    this.claim(name);
    this.parameters.push({ name, axes, init, ...options, decay: options.decay ?? false });
    return name;
  }

  /** Declares an input of a batch. */
  input(name: string, axes: readonly string[], options: InputOptions): Value {
    this.claim(name);
    this.inputs.push({ name, axes, ...options });
    return name;
  }

  /** Appends a node, and leaves out undefined inputs; returns the value that it computes. */
  node(
    op: string,
    name: string,
    inputs: Readonly<Record<string, Value | undefined>>,
    attributes: Readonly<Record<string, Attribute>> = {},
  ): Value {
    this.claim(name);
    const given = Object.fromEntries(
      Object.entries(inputs).filter((entry): entry is [string, Value] => entry[1] !== undefined),
    );
    this.nodes.push({ name, op, inputs: given, attributes });
    return name;
  }

  /**
   * Ends the Graph with its outputs.
   *
   * @param losses - role → weight, for a Graph with several losses. Default: only the output `loss`.
   */
  build(outputs: Readonly<Record<string, Value>>, losses?: Readonly<Record<string, number>>): Graph {
    return {
      format: 'tesserae.graph',
      version: 2,
      name: this.name,
      lengthAxes: this.lengthAxes,
      axes: this.axes,
      parameters: this.parameters,
      inputs: this.inputs,
      nodes: this.nodes,
      outputs,
      ...(losses ? { losses: Object.entries(losses).map(([output, weight]) => ({ output, weight })) } : {}),
    };
  }

  private claim(name: string): void {
    if (this.names.has(name)) {
      throw new TesseraeError('ERR_CONFIG', `the name '${name}' is used twice in the graph '${this.name}'`);
    }
    this.names.add(name);
  }
}
