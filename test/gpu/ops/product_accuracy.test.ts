import { gpu } from '../support/gpu';
import { testProductAccuracy } from './product_accuracy';

testProductAccuracy({ device: gpu, precisions: ['fp32', 'tf32', 'bf16', 'fp16'] });
