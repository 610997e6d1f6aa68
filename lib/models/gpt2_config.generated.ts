// Generated from the schemas of gpt2_config.ts by 'npm run settings': change them instead.

/**
 * The settings of the `gpt2` family with every default filled in. Names and defaults are Hugging Face's in camelCase.
 */
export interface GPT2Config {
  /** Token ids are in [0, vocabSize). An integer from 1 to 2^24. Default 50,257. */
  readonly vocabSize: number;
  /** The longest sequence, in tokens. An integer from 1 to 2^20. Default 1024. */
  readonly nPositions: number;
  /** Width of the residual stream. An integer from 1 to 65,536. Default 768. */
  readonly nEmbd: number;
  /** Number of blocks. An integer from 1 to 1000. Default 12. */
  readonly nLayer: number;
  /** Attention heads per block. An integer from 1 to 1024. Default 12. */
  readonly nHead: number;
  /** Width of one head; required if nHead doesn't divide nEmbd. An integer from 1 to 1024. Default nEmbd ÷ nHead. */
  readonly headDim: number;
  /** Whether to divide attention scores by √headDim. Default true. */
  readonly scaleAttnWeights: boolean;
  /** Whether to also divide the attention scores of block l, counted from 0, by l + 1. Default false. */
  readonly scaleAttnByInverseLayerIdx: boolean;
  /** Width inside the MLP. An integer from 1 to 2^18. Default 4 · nEmbd. */
  readonly nInner: number;
  /** Activation inside the MLP; `gelu` is exact, `gelu_new` the tanh approximation. Default 'gelu_new'. */
  readonly activationFunction: 'gelu' | 'gelu_new' | 'relu' | 'silu' | 'tanh';
  /** Probability of dropout on the outputs of attention and MLP. A number from 0 and below 1. Default 0.1. */
  readonly residPdrop: number;
  /** Probability of dropout on the sum of embeddings. A number from 0 and below 1. Default 0.1. */
  readonly embdPdrop: number;
  /** Probability of dropout on attention probabilities. A number from 0 and below 1. Default 0.1. */
  readonly attnPdrop: number;
  /** Added to the variance in each layer norm. A number above 0 to 1. Default 1e-5. */
  readonly layerNormEpsilon: number;
  /** Standard deviation of initial weights. A number from 0 to 10. Default 0.02. */
  readonly initializerRange: number;
  /** Whether the output head shares the weights of the token embedding. Default true. */
  readonly tieWordEmbeddings: boolean;
  /**
   * Token that starts a text, or null. An integer of at least 0. Default 50256 for a vocabulary of GPT-2's size (50257
   * to 50304), else null.
   */
  readonly bosTokenId: number | null;
  /** Token or tokens that end a text, or null. Default 50256 for a vocabulary of GPT-2's size, else null. */
  readonly eosTokenId: number | readonly number[] | null;
  /**
   * Whether attention is bidirectional and every position has a given target instead of the next token. Default false.
   */
  readonly isEncoder: boolean;
  /** Whether a position sees only itself and earlier ones. Default !isEncoder. */
  readonly isCausal: boolean;
  /**
   * Number of token types whose embeddings are added to the tokens' (input `types`); 0: none. An integer from 0 to
   * 2^24. Default 0.
   */
  readonly nTypes: number;
  /** Number of token subtypes (input `subtypes`); 0: none. An integer from 0 to 2^24. Default 0. */
  readonly nStypes: number;
  /** Position embeddings; `sinusoidal` ones are fixed (Vaswani et al. 2017, section 3.5). Default 'learned'. */
  readonly positions: 'learned' | 'sinusoidal' | 'none';
  /**
   * Layer norm before each branch, and once at the end (`pre`, GPT-2), or after each residual sum (`post`). Default
   * 'pre'.
   */
  readonly normalization: 'pre' | 'post';
  /**
   * The target value without a loss; outside [0, vocabSize). An integer from -2147483648 to 2147483647. Default -100.
   */
  readonly ignoreIndex: number;
}

/** The settings of the `gpt2` family. Names and defaults are Hugging Face's in camelCase. */
export interface GPT2Options {
  /** Token ids are in [0, vocabSize). An integer from 1 to 2^24. Default 50,257. */
  readonly vocabSize?: number;
  /** The longest sequence, in tokens. An integer from 1 to 2^20. Default 1024. */
  readonly nPositions?: number;
  /** Width of the residual stream. An integer from 1 to 65,536. Default 768. */
  readonly nEmbd?: number;
  /** Number of blocks. An integer from 1 to 1000. Default 12. */
  readonly nLayer?: number;
  /** Attention heads per block. An integer from 1 to 1024. Default 12. */
  readonly nHead?: number;
  /** Width of one head; required if nHead doesn't divide nEmbd. An integer from 1 to 1024. Default nEmbd ÷ nHead. */
  readonly headDim?: number;
  /** Whether to divide attention scores by √headDim. Default true. */
  readonly scaleAttnWeights?: boolean;
  /** Whether to also divide the attention scores of block l, counted from 0, by l + 1. Default false. */
  readonly scaleAttnByInverseLayerIdx?: boolean;
  /** Width inside the MLP; null: 4 · nEmbd. An integer from 1 to 2^18. Default null. */
  readonly nInner?: number | null;
  /** Activation inside the MLP; `gelu` is exact, `gelu_new` the tanh approximation. Default 'gelu_new'. */
  readonly activationFunction?: 'gelu' | 'gelu_new' | 'relu' | 'silu' | 'tanh';
  /** Probability of dropout on the outputs of attention and MLP. A number from 0 and below 1. Default 0.1. */
  readonly residPdrop?: number;
  /** Probability of dropout on the sum of embeddings. A number from 0 and below 1. Default 0.1. */
  readonly embdPdrop?: number;
  /** Probability of dropout on attention probabilities. A number from 0 and below 1. Default 0.1. */
  readonly attnPdrop?: number;
  /** Added to the variance in each layer norm. A number above 0 to 1. Default 1e-5. */
  readonly layerNormEpsilon?: number;
  /** Standard deviation of initial weights. A number from 0 to 10. Default 0.02. */
  readonly initializerRange?: number;
  /** Whether the output head shares the weights of the token embedding. Default true. */
  readonly tieWordEmbeddings?: boolean;
  /**
   * Token that starts a text, or null. An integer of at least 0. Default 50256 for a vocabulary of GPT-2's size (50257
   * to 50304), else null.
   */
  readonly bosTokenId?: number | null;
  /** Token or tokens that end a text, or null. Default 50256 for a vocabulary of GPT-2's size, else null. */
  readonly eosTokenId?: number | readonly number[] | null;
  /**
   * Whether attention is bidirectional and every position has a given target instead of the next token. Default false.
   */
  readonly isEncoder?: boolean;
  /** Whether a position sees only itself and earlier ones. Default !isEncoder. */
  readonly isCausal?: boolean;
  /**
   * Number of token types whose embeddings are added to the tokens' (input `types`); 0: none. An integer from 0 to
   * 2^24. Default 0.
   */
  readonly nTypes?: number;
  /** Number of token subtypes (input `subtypes`); 0: none. An integer from 0 to 2^24. Default 0. */
  readonly nStypes?: number;
  /** Position embeddings; `sinusoidal` ones are fixed (Vaswani et al. 2017, section 3.5). Default 'learned'. */
  readonly positions?: 'learned' | 'sinusoidal' | 'none';
  /**
   * Layer norm before each branch, and once at the end (`pre`, GPT-2), or after each residual sum (`post`). Default
   * 'pre'.
   */
  readonly normalization?: 'pre' | 'post';
  /**
   * The target value without a loss; outside [0, vocabSize). An integer from -2147483648 to 2147483647. Default -100.
   */
  readonly ignoreIndex?: number;
  /** Another name of nPositions, from older files. An integer from 1 to 2^20. */
  readonly nCtx?: number;
}
