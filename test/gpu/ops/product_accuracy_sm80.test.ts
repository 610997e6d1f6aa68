/** @jest-environment-options { "variables": { "TESSERAE_GEMM": "sm80" } } */
import { gpu } from '../support/gpu';
import { testProductAccuracy } from './product_accuracy';

// Without cuBLASLt and Hopper's kernels.
testProductAccuracy({ device: gpu, precisions: ['fp32', 'tf32', 'bf16', 'fp16'] }, /cuBLASLt|sm90/);
