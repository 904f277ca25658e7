//go:build race

package seal

// raceDetector makes the large tests smaller: they run about ten times as long with it.
const raceDetector = true
