import { productPictures } from '../../../benchmarks/lib/product_pictures.mjs';

const product = {
  ...{ layout: 'forward', m: 64, n: 32, k: 16, pieces: [] },
  candidates: [{ name: 'cuBLASLt 1', rate: 1e12 }],
};

it('draws the pictures of fed results', () => {
  const machine = { name: 'NVIDIA H200' };
  const result = { suite: 'products_124m_bf16', title: 'Products', work: '64 rows', machine };
  const rows = [{ width: 512, precision: 'bf16', points: [{ alignment: 8, best: 1e12, by: 'plain' }] }];
  const alignment = { title: 'Alignment', work: 'Forward', machine, rows };
  const pictures = productPictures({
    alignment,
    runs: [{ run: { peak: 1e12 }, products: [product], result }],
  });
  expect(Object.keys(pictures)).toEqual(['products_124m_bf16.svg', 'alignment.svg']);
  expect(pictures['products_124m_bf16.svg']).toContain('>64 rows; NVIDIA H200<');
  expect(pictures['alignment.svg']).toContain('>Forward; NVIDIA H200<');
  expect(productPictures({ alignment: undefined, runs: [] })).toEqual({});
});
