import { testOperations } from './operations';

testOperations('bf16');
