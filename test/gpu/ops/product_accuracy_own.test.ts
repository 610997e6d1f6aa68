/** @jest-environment-options { "variables": { "TESSERAE_GEMM": "own" } } */
import { gpu } from '../support/gpu';
import { testProductAccuracy } from './product_accuracy';

// Without cuBLASLt.
testProductAccuracy({ device: gpu, precisions: ['fp32', 'tf32', 'bf16', 'fp16'] }, /cuBLASLt/);
