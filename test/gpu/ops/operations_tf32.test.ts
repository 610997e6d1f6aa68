import { testOperations } from './operations';

testOperations('tf32');
