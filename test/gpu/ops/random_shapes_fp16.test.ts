import { testRandomShapes } from './random_shapes';

testRandomShapes('fp16');
