import { testRandomShapes } from './random_shapes';

testRandomShapes('tf32');
