//! Positions and distances.

/// Mean radius of the Earth in metres (IUGG).
const EARTH_RADIUS_M: f64 = 6_371_008.8;

/// A place on Earth: WGS-84 degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Position {
    /// Degrees north, -90 to 90.
    pub lat: f64,
    /// Degrees east, -180 to 180.
    pub lon: f64,
    /// The radius in metres within which the device believes to be; `None` if it does not say.
    pub accuracy_m: Option<f64>,
    /// Whether the platform reports the position as simulated.
    pub mocked: bool,
}

/// The distance between two places in metres, by the haversine formula: within 0.5 % on Earth.
pub fn distance_m(a: (f64, f64), b: (f64, f64)) -> f64 {
    let (lat_a, lat_b) = (a.0.to_radians(), b.0.to_radians());
    let half_lat = ((lat_b - lat_a) / 2.0).sin();
    let half_lon = ((b.1 - a.1).to_radians() / 2.0).sin();
    let h = half_lat * half_lat + lat_a.cos() * lat_b.cos() * half_lon * half_lon;
    2.0 * EARTH_RADIUS_M * h.sqrt().min(1.0).asin()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_distance_is_met() {
        // Paris to London, 343.5 km.
        let metres = distance_m((48.8566, 2.3522), (51.5074, -0.1278));
        assert!((metres - 343_556.0).abs() < 500.0, "{metres}");
    }

    #[test]
    fn antipodes_are_no_nan() {
        assert!((distance_m((0.0, 0.0), (0.0, 180.0)) - 20_015_115.0).abs() < 100.0);
    }
}
