import { BATCH } from '../../../lib/graph/graph';
import {
  buildGraph,
  modelFromFile,
  modelToFile,
  resolveModelConfig,
  type ModelConfig,
} from '../../../lib/models/families';

const tiny = { type: 'gpt2', vocabSize: 65, nPositions: 16, nEmbd: 24, nLayer: 2, nHead: 3 } as const;

describe('buildGraph', () => {
  it('names values before they are used, once', () => {
    const configs: ModelConfig[] = [
      tiny,
      { ...tiny, normalization: 'post', positions: 'none', tieWordEmbeddings: false, attnPdrop: 0 },
      { ...tiny, isEncoder: true, nTypes: 3, nStypes: 2, positions: 'sinusoidal' },
    ];
    for (const config of configs) {
      const graph = buildGraph(config);
      const known = new Set([...graph.parameters, ...graph.inputs].map(({ name }) => name));
      const axes = new Set([BATCH, ...graph.lengthAxes, ...graph.axes.map(({ name }) => name)]);
      for (const { axes: used } of [...graph.parameters, ...graph.inputs])
        for (const axis of used) expect(axes).toContain(axis);
      for (const node of graph.nodes) {
        for (const value of Object.values(node.inputs)) expect(known).toContain(value);
        expect(known).not.toContain(node.name);
        known.add(node.name);
      }
      for (const value of Object.values(graph.outputs)) expect(known).toContain(value);
      expect(Object.keys(graph.outputs)).toEqual(['loss', 'logits', 'logProbs']);
    }
  });

  it("has Hugging Face's parameters, transposed and decayed as GPT-2's", () => {
    const { parameters } = buildGraph(tiny);
    expect(parameters.map(({ name }) => name)).toEqual([
      'transformer.wte.weight',
      'transformer.wpe.weight',
      ...[0, 1].flatMap((i) =>
        ['ln_1', 'attn.c_attn', 'attn.c_proj', 'ln_2', 'mlp.c_fc', 'mlp.c_proj'].flatMap((layer) => [
          `transformer.h.${i}.${layer}.weight`,
          `transformer.h.${i}.${layer}.bias`,
        ]),
      ),
      'transformer.ln_f.weight',
      'transformer.ln_f.bias',
    ]);
    const transposed = parameters.filter((parameter) => parameter.transposedInFiles);
    expect(transposed.map(({ name }) => name.replace(/\.\d\./, '.i.'))).toEqual([
      ...[0, 1].flatMap(() => [
        'transformer.h.i.attn.c_attn.weight',
        'transformer.h.i.attn.c_proj.weight',
        'transformer.h.i.mlp.c_fc.weight',
        'transformer.h.i.mlp.c_proj.weight',
      ]),
    ]);
    for (const { name, axes, decay } of parameters) expect([name, decay]).toEqual([name, axes.length === 2]);
    const projection = parameters.find(({ name }) => name === 'transformer.h.0.mlp.c_proj.weight');
    expect(projection?.init).toEqual({ type: 'normal', std: 0.02 / Math.sqrt(4) });
  });

  it('needs lengths only if attention sees later positions', () => {
    const inputs = (config: ModelConfig): string[] =>
      buildGraph(config)
        .inputs.filter(({ optional }) => !optional)
        .map(({ name }) => name);
    expect(inputs(tiny)).toEqual(['tokens', 'targets']);
    expect(inputs({ ...tiny, isEncoder: true })).toEqual(['tokens', 'lengths', 'targets']);
    expect(inputs({ ...tiny, nTypes: 2, nStypes: 5 })).toEqual(['tokens', 'types', 'subtypes', 'targets']);
  });

  it('neither saves nor trains sinusoidal positions', () => {
    const { parameters } = buildGraph({ ...tiny, positions: 'sinusoidal' });
    expect(parameters.find(({ name }) => name === 'transformer.wpe.weight')).toMatchObject({
      init: { type: 'sinusoidal' },
      trainable: false,
      saved: false,
      decay: false,
    });
  });

  it('leaves dropout out if its probability is 0', () => {
    const none = { ...tiny, residPdrop: 0, embdPdrop: 0, attnPdrop: 0 };
    expect(buildGraph(none).nodes.filter(({ op }) => op === 'dropout')).toEqual([]);
    expect(buildGraph(tiny).nodes.filter(({ op }) => op === 'dropout')).toHaveLength(1 + 2 * 2);
  });

  it('is plain data', () => {
    const graph = buildGraph(tiny);
    expect(JSON.parse(JSON.stringify(graph))).toEqual(graph);
  });
});

describe('resolveModelConfig', () => {
  it.each<[unknown, string]>([
    [{}, 'model.type is missing: one of gpt2'],
    [null, 'model.type is missing'],
    [{ type: 'gpt-2' }, 'model.type "gpt-2" is not a model family: did you mean \'gpt2\'?'],
    [{ type: 'bert' }, 'model.type "bert" is not a model family: one of gpt2'],
    [{ type: 'constructor' }, 'model.type "constructor" is not a model family'],
    [{ type: 'gpt2', nLayers: 1 }, 'model.nLayers is unknown: did you mean nLayer?'],
  ])('refuses %j', (config, message) => {
    expect(() => resolveModelConfig(config as ModelConfig, 'model')).toThrow(message);
  });
});

describe('config.json', () => {
  it.each<ModelConfig>([tiny, { ...tiny, normalization: 'post' }])('gives a model back: %j', (config) => {
    const resolved = resolveModelConfig(config);
    expect(modelFromFile(JSON.parse(JSON.stringify(modelToFile(resolved))))).toEqual(resolved);
  });

  it('is a GPT-2 if it has no model_type', () => {
    expect(modelFromFile({ n_layer: 3 })).toMatchObject({ type: 'gpt2', nLayer: 3 });
  });

  it.each<[unknown, string]>([
    [{ model_type: 'llama' }, "model_type must be 'gpt2', not 'llama'"],
    [{ model_type: { toString: 1 } }, "model_type must be 'gpt2', not an object"],
    [null, 'must hold an object'],
    ['gpt2', 'must hold an object'],
  ])('is refused: %j', (json, message) => {
    expect(() => modelFromFile(json)).toThrow(message);
  });
});
