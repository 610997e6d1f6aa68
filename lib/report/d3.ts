/**
 * What pictures use of d3. scripts/bundle_d3.mjs makes one CommonJS file of it: d3 is published as ES modules alone, and
 * Node.js 20 and 22 abort the process when a worker thread is terminated while it requires one.
 */
export { scaleLinear } from 'd3-scale';
export { line } from 'd3-shape';
