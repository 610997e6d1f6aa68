import { TesseraeError } from '../../../lib/errors';
import { doctor, examine, type Machine } from '../../../lib/cli/doctor';
import type { Finding } from '../../../lib/cli/finding';
import type { SelfTestResult } from '../../../lib/cli/self_test';
import type { SystemInfo } from '../../../lib/native';

const learned: SelfTestResult = {
  device: 'cpu',
  precision: 'fp32',
  isa: 'x86-64-v3',
  steps: 30,
  firstLoss: 4.2,
  lastLoss: 1.5,
  seconds: 0.3,
};
const cpuOnly: SystemInfo = { cuda: false, oneDnn: '3.1.0', gpus: [], libraries: {} };
const h100 = { index: 0, name: 'NVIDIA H100', capability: '9.0', memory: 80 * 2 ** 30, supported: true };
const gpuBox: SystemInfo = {
  cuda: true,
  oneDnn: '3.1.0',
  driver: 13_000,
  gpus: [h100],
  libraries: { cublasLt: 130_001, nccl: 22_703 },
};

function machine(changes: Partial<Machine> & { info?: SystemInfo } = {}): Machine {
  const { info = cpuOnly, ...rest } = changes;
  return {
    node: '20.19.0',
    platform: 'linux-x64',
    glibc: '2.34',
    processor: 'a processor, 2 threads',
    memory: 2 ** 34,
    system: () => Promise.resolve(info),
    hasNvidiaHardware: () => info.gpus.length > 0,
    selfTest: (device) => Promise.resolve({ ...learned, device }),
    ...rest,
  };
}

async function findings(of: Machine): Promise<Finding[]> {
  const found: Finding[] = [];
  for await (const finding of examine(of)) found.push(finding);
  return found;
}

const problems = async (of: Machine): Promise<Finding[]> =>
  (await findings(of)).filter(({ status }) => status === 'problem');

it('finds nothing wrong with a machine without a GPU, and says that it has none', async () => {
  const found = await findings(machine());
  expect(found.map(({ status, subject }) => [status, subject])).toEqual([
    ['ok', 'Node.js'],
    ['ok', 'system'],
    ['ok', 'processor'],
    ['ok', 'addon'],
    ['note', 'GPU'],
    ['ok', 'test cpu'],
  ]);
});

it('reports driver, GPUs, libraries and a test of each device', async () => {
  const old = { ...h100, index: 1, name: 'Tesla V100', capability: '7.0', supported: false };
  const found = await findings(machine({ info: { ...gpuBox, gpus: [h100, old] } }));
  expect(found.map(({ status, subject, text }) => `${status} ${subject}: ${text}`).slice(4)).toEqual([
    'ok driver: supports CUDA 13.0',
    'ok cuda:0: NVIDIA H100, compute capability 9.0, 80 GiB',
    'note cuda:1: Tesla V100, compute capability 7.0, 80 GiB: not used, because it needs 8.0 (sm_80) or higher',
    'ok cuBLASLt: 13.0.1',
    'ok NCCL: 2.27.3',
    'ok test cpu: 30 steps in 300 ms (fp32, x86-64-v3), loss 4.20 → 1.50',
    'ok test cuda:0: 30 steps in 300 ms (fp32), loss 4.20 → 1.50',
  ]);
});

it.each<[string, Machine, string, string]>([
  ['Node.js', machine({ node: '18.20.4' }), '18.20.4 is too old: tesserae needs 20.19', 'nvm install'],
  ['Node.js', machine({ node: '20.9.0' }), '20.9.0 is too old', 'nvm install'],
  ['system', machine({ glibc: '2.31' }), 'glibc 2.31', 'docker run'],
  ['system', machine({ glibc: undefined }), 'no glibc (musl?)', 'docker run'],
  [
    'system',
    machine({ platform: 'darwin-arm64' }),
    'darwin-arm64 is not supported: tesserae needs Linux x64',
    'docker run',
  ],
  ['GPU', machine({ hasNvidiaHardware: () => true }), 'has no CUDA', 'TESSERAE_CUDA=1'],
  [
    'GPU',
    machine({ info: { ...cpuOnly, cuda: true }, hasNvidiaHardware: () => true }),
    'this process sees no driver',
    'nvidia-driver-580',
  ],
  ['driver', machine({ info: { ...gpuBox, driver: 12_040 } }), 'supports CUDA 12.4', 'nvidia-driver-580'],
  [
    'GPU',
    machine({
      info: { ...gpuBox, gpus: [], problem: 'no CUDA-capable device' },
      hasNvidiaHardware: () => true,
    }),
    'the driver lists no GPU: no CUDA-capable device',
    'nvidia-smi',
  ],
])('%s: one cause and one command (%#)', async (subject, of, cause, command) => {
  expect(await problems(of)).toEqual([
    {
      status: 'problem',
      subject,
      text: expect.stringContaining(cause) as string,
      command: expect.stringContaining(command) as string,
    },
  ]);
});

it('says what is slower or impossible without a library', async () => {
  const found = await findings(
    machine({ info: { ...gpuBox, gpus: [h100, { ...h100, index: 1 }], libraries: {} } }),
  );
  const notes = found.filter(({ status }) => status === 'note');
  expect(notes.map(({ subject, command }) => [subject, command])).toEqual([
    ['cuBLASLt', 'sudo apt-get install libcublas-13-0'],
    ['NCCL', 'sudo apt-get install libnccl2'],
  ]);
});

it("ends with the addon if it can't be loaded", async () => {
  const found = await findings(
    machine({
      system: () =>
        Promise.reject(new TesseraeError('ERR_NATIVE_LOAD', 'the native addon could not be loaded')),
    }),
  );
  expect(found.at(-1)).toMatchObject({
    status: 'problem',
    subject: 'addon',
    text: 'the native addon could not be loaded',
  });
});

it.each<[string, Machine['selfTest'], string]>([
  ['does not learn', (device) => Promise.resolve({ ...learned, device, lastLoss: 4.3 }), 'does not learn'],
  ['is not finite', (device) => Promise.resolve({ ...learned, device, lastLoss: NaN }), 'does not learn'],
  ['crashes', () => Promise.reject(new Error('crashed with SIGSEGV')), 'crashed with SIGSEGV'],
])('a test that %s is a problem', async (_, selfTest, text) => {
  const [problem] = await problems(machine({ selfTest }));
  expect(problem).toMatchObject({ subject: 'test cpu', text: expect.stringContaining(text) as string });
});

describe('the command', () => {
  let out: string;
  beforeEach(() => {
    out = '';
    jest.spyOn(process.stdout, 'write').mockImplementation((chunk) => {
      out += String(chunk);
      return true;
    });
  });
  afterEach(() => jest.restoreAllMocks());

  it('prints a line for each finding and the command under a problem, and sets the exit code', async () => {
    expect(await doctor({ json: false }, machine({ node: '18.0.0' }))).toBe(1);
    expect(out).toContain('18.0.0 is too old: tesserae needs 20.19');
    expect(out).toContain('nvm install --lts');
    expect(out).toContain('1 problem.');
  });

  it('prints JSON lines', async () => {
    expect(await doctor({ json: true }, machine())).toBe(0);
    const lines = out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Finding);
    expect(lines[0]).toEqual({ status: 'ok', subject: 'Node.js', text: '20.19.0' });
  });
});
