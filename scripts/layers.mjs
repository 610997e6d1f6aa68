// The layers of the two source trees, top to bottom: a folder imports from itself and from those below it.

export const typescriptLayers = [
  'cli',
  'training',
  'sampling',
  'checkpoint',
  'data',
  'report',
  'models',
  'products',
  'graph',
  'native.ts',
  'native_training.ts',
  'native_products.ts',
  'native_programs.ts',
  'native_session.ts',
  'threads',
  'files',
  'errors.ts',
];

export const nativeLayers = ['binding', 'engine', 'compiler', 'ops', 'comm', 'runtime'];

// Returns what is wrong with an import of layer `to` from layer `from`, or null.
export function violation(layers, from, to) {
  for (const layer of [from, to]) {
    if (!layers.includes(layer)) return `'${layer}' is in no layer (scripts/layers.mjs lists them)`;
  }
  if (layers.indexOf(to) >= layers.indexOf(from)) return null;
  const below = layers.slice(layers.indexOf(from) + 1);
  const allowed = below.length > 0 ? `only from ${below.join(', ')}` : 'from no other layer';
  return `${from} may import ${allowed}, not from ${to}`;
}
