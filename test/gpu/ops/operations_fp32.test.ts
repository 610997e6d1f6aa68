import { testOperations } from './operations';

testOperations('fp32');
