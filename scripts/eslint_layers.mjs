// ESLint rule: imports inside lib/ go down the layers of layers.mjs. lib/index.ts is above them all.
import path from 'node:path';

import { typescriptLayers, violation } from './layers.mjs';

const layerOf = (lib, file) => {
  const [first, ...rest] = path.relative(lib, file).split(path.sep);
  return rest.length > 0 ? first : first.replace(/(\.[cm]?[jt]s)?$/, '.ts');
};

export const layersRule = {
  meta: {
    type: 'problem',
    docs: { description: 'imports inside lib/ go down the layers' },
    schema: [{ type: 'object', properties: { lib: { type: 'string' } }, required: ['lib'] }],
    messages: { direction: '{{problem}}' },
  },
  create(context) {
    const { lib } = context.options[0];
    const from = layerOf(lib, context.filename);
    if (from === 'index.ts') return {};

    const check = (node) => {
      if (node?.type !== 'Literal' || typeof node.value !== 'string' || !node.value.startsWith('.')) return;
      const target = path.resolve(path.dirname(context.filename), node.value);
      if (path.relative(lib, target).startsWith('..')) return; // package.json
      // './', '..' and '../models' alone name a folder
      const inFolder = typescriptLayers.includes(path.relative(lib, target));
      const to = layerOf(lib, inFolder ? path.join(target, 'index') : target);
      const problem = violation(typescriptLayers, from, to);
      if (problem) context.report({ node, messageId: 'direction', data: { problem } });
    };

    return {
      ImportDeclaration: (node) => check(node.source),
      ExportNamedDeclaration: (node) => check(node.source),
      ExportAllDeclaration: (node) => check(node.source),
      ImportExpression: (node) => check(node.source),
      TSImportType: (node) => check(node.source ?? node.argument?.literal),
      TSExternalModuleReference: (node) => check(node.expression),
      CallExpression: (node) => {
        if (node.callee.type === 'Identifier' && node.callee.name === 'require') check(node.arguments[0]);
      },
    };
  },
};
