// Matrix products as text.

const SYMBOLS = { forward: 'x Wᵀ', inputGradient: 'dy W', weightGradient: 'dyᵀ x' };

export const shapeText = ({ m, n, k }) => `${m} × ${n} × ${k}`;

export const layoutText = ({ layout, accumulate, unpadded }) =>
  `${SYMBOLS[layout]}${accumulate ? ' + C' : ''}${unpadded ? ', unpadded' : ''}`;

const NAMES = { keepInput: 'keeps input', columnSums: 'column sums', rowScale: 'row scale' };

export const piecesText = ({ pieces }) =>
  pieces
    .map(({ kind, function: name }) => {
      if (kind === 'activation') return name;
      if (kind === 'slope') return `slope of ${name}`;
      return NAMES[kind] ?? kind;
    })
    .join(', ');
