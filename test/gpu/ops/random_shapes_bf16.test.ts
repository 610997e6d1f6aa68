import { testRandomShapes } from './random_shapes';

testRandomShapes('bf16');
