import { testOperations } from './operations';

testOperations('fp16');
